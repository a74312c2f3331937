/* EVFILT_VNODE watches an open file, not a name. So it is exact, and it is a trap: an editor that
 * saves by renaming a new file over the old one leaves us watching a file that has no name any
 * more. Therefore we watch two things: the file, and the directory that its name is in. When the
 * directory changes, we look whether the name means another file now. */
#include "watch.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

#ifndef O_EVTONLY
#define O_EVTONLY O_RDONLY /* macOS: for watching only, and does not keep a volume mounted */
#endif
#define NOTE_GONE (NOTE_DELETE | NOTE_RENAME | NOTE_REVOKE) /* it no longer has the name */
#ifndef NOTE_TRUNCATE
#define NOTE_TRUNCATE 0 /* OpenBSD has a bit of its own; elsewhere the size tells */
#endif

static const struct {
    unsigned int bit;
    const char *text;
} names[] = {
    {NOTE_WRITE, "write"},   {NOTE_EXTEND, "extend"}, {NOTE_ATTRIB, "attributes"},
    {NOTE_LINK, "link"},     {NOTE_RENAME, "rename"}, {NOTE_DELETE, "delete"},
    {NOTE_REVOKE, "revoke"},
};

/* EV_CLEAR: without it an event that has happened would be reported forever. */
static int add(int kq, int fd, unsigned int notes)
{
    struct kevent change;
    EV_SET(&change, (uintptr_t)fd, EVFILT_VNODE, EV_ADD | EV_CLEAR, notes, 0, 0);
    return kevent(kq, &change, 1, NULL, 0, NULL);
}

static void close_file(struct watch *watch)
{
    if (watch->file >= 0)
        close(watch->file); /* which also ends its filter */
    watch->file = -1;
}

/* Opens the file that has the name now. From add() on the kernel reports what happens to it, so we
 * read its size after that, not before. */
static void open_file(struct watch *watch, int kq)
{
    unsigned int notes = NOTE_TRUNCATE;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        notes |= names[i].bit;
    watch->file = open(watch->path, O_EVTONLY | O_CLOEXEC | O_NONBLOCK);
    if (watch->file >= 0 &&
        (add(kq, watch->file, notes) < 0 || fstat(watch->file, &watch->seen) < 0)) {
        log_error("watch %s", watch->path);
        close_file(watch);
    }
}

/* Several bits may be set at once, so we test each of them, without else.
 *
 * Only OpenBSD reports that a file was truncated. Elsewhere the size tells, if the file is still
 * shorter than when we last looked. "echo longer >file" truncates the file and writes more than
 * before: then we only see that it was written to. */
static void report(struct watch *watch, unsigned int fflags)
{
    char text[128] = "";
    struct stat now;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (fflags & names[i].bit) {
            strcat(text, " ");
            strcat(text, names[i].text);
        }
    if (fstat(watch->file, &now) == 0) {
        if (now.st_size < watch->seen.st_size || (fflags & NOTE_TRUNCATE))
            strcat(text, " truncate");
        watch->seen = now;
    }
    log_event("%s:%s", watch->path, text);
}

void watch_event(struct watch *watch, const struct kevent *event)
{
    watch->look = true;
    if ((int)event->ident == watch->directory)
        return; /* an entry was created, renamed or deleted, perhaps ours; or the directory was */
    report(watch, event->fflags);
    if (event->fflags & NOTE_GONE)
        watch->moved = true;
}

/* Does the path still lead through the directory that we watch? If we may not look, we assume it.
 */
static bool path_is_the_same(const struct watch *watch)
{
    struct stat named, open;
    if (stat(watch->folder, &named) < 0)
        return errno != ENOENT && errno != ENOTDIR;
    return fstat(watch->directory, &open) == 0 && named.st_ino == open.st_ino &&
           named.st_dev == open.st_dev;
}

static void close_directory(struct watch *watch)
{
    if (watch->directory >= 0)
        close(watch->directory);
    watch->directory = -1;
}

/* Another directory may have the name now, or get it one day. To learn when, we would have to watch
 * the directory above, which can be renamed as well, and so on up to the root. So we say that it is
 * gone, and end. */
static void give_up(struct watch *watch)
{
    log_event("%s: its directory is gone: no longer watched", watch->path);
    close_file(watch);
    close_directory(watch);
}

void watch_settle(struct watch *watch, int kq)
{
    struct stat now;
    if (!watch->look)
        return;
    watch->look = false;
    if (!path_is_the_same(watch)) {
        give_up(watch);
        return;
    }
    bool exists = stat(watch->path, &now) == 0;
    bool is_another = exists && (watch->file < 0 || now.st_ino != watch->seen.st_ino ||
                                 now.st_dev != watch->seen.st_dev);
    if (exists && !is_another)
        watch->moved = false; /* it has its name back */
    if (!is_another && !watch->moved)
        return;
    bool had_one = watch->file >= 0;
    close_file(watch);
    watch->moved = false;
    if (!exists)
        return;
    open_file(watch, kq);
    if (watch->file >= 0)
        log_event("%s: %s", watch->path, had_one ? "replaced" : "created");
}

struct watch *watch_start(int kq, const char *path)
{
    struct watch *watch = calloc(1, sizeof *watch);
    if (!watch)
        err(1, "watch %s", path);
    watch->path = path;
    watch->copy = strdup(path);
    if (!watch->copy)
        err(1, "watch %s", path);
    watch->folder = dirname(watch->copy);
    watch->directory = open(watch->folder, O_EVTONLY | O_CLOEXEC);
    if (watch->directory < 0 || add(kq, watch->directory, NOTE_WRITE | NOTE_GONE) < 0)
        err(1, "watch %s", path);
    open_file(watch, kq);
    return watch;
}
