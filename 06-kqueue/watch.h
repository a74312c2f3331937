/* --watch: a file's changes, out of the same kevent() that serves the clients. */
#ifndef WATCH_H
#define WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <sys/event.h>

/* A file by its name, whichever file that is at the moment. It is watched as long as its directory
 * keeps its own name: when the directory is renamed or deleted, we say so and end. Nothing tells us
 * when that happens to a directory further up, nor, over epoll, when ours is deleted. We notice it
 * with the next event of the file or the directory, and there may be none. */
struct watch {
    const char *path, *folder; /* the file, and the directory that it is in */
    char *copy;                /* of path: dirname(3) makes folder out of it */
    int file, directory;       /* descriptors; -1: not open. file: nothing has that name */
    struct stat seen;          /* how the file was when we last looked */
    bool moved;                /* the file has lost its name */
    bool look;                 /* the name may mean another file now: see watch_settle() */
};

/* Starts watching; path must stay valid. What it returns is never freed. Without memory, or without
 * the directory that path is in, it ends the process with a message and status 1. */
struct watch *watch_start(int kq, const char *path);

/* Takes an EVFILT_VNODE event, and logs what happened. */
void watch_event(struct watch *watch, const struct kevent *event);

/* Opens the file that has the name now, if that is another one. Call it after the last event of a
 * batch: the new file may get the old one's descriptor, and a later event of the batch, which is
 * the old file's, would be taken for its own. */
void watch_settle(struct watch *watch, int kq);

#endif
