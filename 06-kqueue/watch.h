/* --watch: a file's changes, out of the same kevent() that serves the clients. */
#ifndef WATCH_H
#define WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <sys/event.h>

/* A file by its name, whichever file that is at the moment, as long as the directory that the name
 * is in keeps its own: when that is renamed or deleted, we say so and no longer watch. Of a
 * directory further up nobody tells us, nor, over epoll, of a deletion: we find it out with the
 * next event of the file or the directory, and there may be none. */
struct watch {
    const char *path, *folder; /* the file, and the directory that it is in */
    char *copy;                /* of path: dirname(3) makes folder out of it */
    int file, directory;       /* descriptors; file is -1 while nothing has that name */
    struct stat seen;          /* how the file was when we last looked */
    bool moved, look;          /* the file has lost its name; the name may mean another file */
};

/* Starts watching; path must stay. Returns NULL with errno: without the directory that path is
 * in there is nothing to watch. */
struct watch *watch_start(int kq, const char *path);

/* Takes an EVFILT_VNODE event, and says what happened. */
void watch_event(struct watch *watch, const struct kevent *event);

/* Opens the file anew if it must. Only after the last event of a batch: an event further on would
 * be for the old file, and the new one may get its descriptor's number. */
void watch_settle(struct watch *watch, int kq);

void watch_end(struct watch *watch);

#endif
