/* Filters compared with & instead of ==.
 *
 *     if (event.filter & EVFILT_READ)        wrong
 *
 * Filters are small negative numbers, not bits. EVFILT_READ is -1, all bits set. So the test is
 * true for every filter, and the program takes a file that was written to for a client. (On NetBSD
 * they count up from 0, and EVFILT_READ is 0: there the same test is never true.)
 *
 * Needs: kqueue
 *
 * Expect:
 *   a file was written to: filter = -4
 *   filter & EVFILT_READ is true: taken for a client
 *   filter == EVFILT_READ is false: taken for a file
 *   of 6 filters, 6 pass the test with &, and 1 the test with ==
 *   fflags are bits: one write said NOTE_WRITE and NOTE_EXTEND
 */
#include "experiment.h"

#include <sys/event.h>

int main(void)
{
    static const int filters[] = {EVFILT_READ, EVFILT_WRITE,  EVFILT_VNODE,
                                  EVFILT_PROC, EVFILT_SIGNAL, EVFILT_TIMER};
    struct kevent kev;
    struct timespec patience = {10, 0};
    int kq = kqueue(), with_and = 0, with_equal = 0;
    FILE *file = tmpfile();

    if (EVFILT_READ != -1)
        skip("this system's filters have other numbers");
    if (!file)
        err(1, "tmpfile");
    EV_SET(&kev, (uintptr_t)fileno(file), EVFILT_VNODE, EV_ADD, NOTE_WRITE | NOTE_EXTEND, 0, NULL);
    if (kevent(kq, &kev, 1, NULL, 0, NULL) < 0 || write(fileno(file), "x", 1) != 1)
        err(1, "start");
    if (kevent(kq, NULL, 0, &kev, 1, &patience) != 1)
        errx(1, "no event");
    bool wrong = kev.filter & EVFILT_READ; /* wrong on purpose */
    bool right = kev.filter == EVFILT_READ;
    printf("a file was written to: filter = %d\n", (int)kev.filter);
    printf("filter & EVFILT_READ is %s\n", wrong ? "true: taken for a client" : "false");
    printf("filter == EVFILT_READ is %s\n", right ? "true" : "false: taken for a file");
    for (int i = 0; i < 6; i++) {
        with_and += (filters[i] & EVFILT_READ) != 0;
        with_equal += filters[i] == EVFILT_READ;
    }
    printf("of 6 filters, %d pass the test with &, and %d the test with ==\n", with_and,
           with_equal);
    expect(wrong && !right && with_and == 6 && with_equal == 1, "filters are numbers");
    bool both = (kev.fflags & NOTE_WRITE) && (kev.fflags & NOTE_EXTEND);
    printf("fflags are bits: one write said NOTE_WRITE%s\n", both ? " and NOTE_EXTEND" : " alone");
    expect(both, "several bits come at once");
    claim("A file's changes may be tested by if and elif", "false", !both, 1,
          "one write() at a file's end: %s", both ? "write extend" : "one change");
    claim("e.filter & KQ_FILTER_READ tests a filter", "false", with_and == 1, 1,
          "& EVFILT_READ is true for %d of 6 filters, == for %d", with_and, with_equal);
    return experiment_failed;
}
