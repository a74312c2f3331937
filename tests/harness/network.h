/* A network of one's own, where loopback carries nothing but this process and its children. */
#ifndef NETWORK_H
#define NETWORK_H

#include <stdbool.h>

/* Moves this process into a new network namespace, with loopback up; it goes with its last process.
 * False, with errno, where that may not be. */
bool network_of_my_own(void);

#endif
