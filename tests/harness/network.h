/* A private network, where loopback carries nothing but this process and its children. */
#ifndef NETWORK_H
#define NETWORK_H

#include <stdbool.h>

/* Moves this process into a new network namespace, with loopback up. The namespace ends with its
 * last process. Returns false, with errno, where that is not allowed. */
bool network_of_my_own(void);

#endif
