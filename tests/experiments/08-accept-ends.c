/* Out of descriptors, a multishot accept ends.
 *
 * The process has all the descriptors that it may have, and a client connects. The accept completes
 * with EMFILE and without IORING_CQE_F_MORE. A server that does not request another one lets in
 * nobody from then on, however many descriptors become free. A server that requests it at once gets
 * EMFILE again and again: the client still waits in the backlog, and a core burns. 100 ms later is
 * soon enough.
 *
 * Needs: linux uring
 *
 * Expect:
 *   never requested anew:   1 in 100 ms; with a free descriptor the client waits
 *   requested at once:      <n> in 100 ms; with a free descriptor the client is let in
 *   requested after 100 ms: 1 in 100 ms; with a free descriptor the client is let in
 */
#include "uring.h"

enum way { NEVER, AT_ONCE, AFTER_A_PAUSE };

static struct io_uring ring;
static int listener;

static void request_accept(void)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, 0);
    io_uring_sqe_set_data64(sqe, 0);
}

/* Leaves no number free. Returns the highest one, for somebody to close. */
static int take_all_descriptors(void)
{
    struct rlimit limit;
    int last = dup(listener);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = (rlim_t)last + 1;
    if (last < 0 || setrlimit(RLIMIT_NOFILE, &limit) < 0)
        err(1, "setrlimit");
    return last;
}

/* Returns how many accepts fail within 100 ms. */
static int count_failures(enum way way)
{
    struct completion completion;
    int failures = 0;
    double end = now() + 0.1;
    do {
        if (!completed(&ring, 20, &completion))
            continue;
        failures++;
        expect(completion.result == -EMFILE && !(completion.flags & IORING_CQE_F_MORE),
               "the accept ends with EMFILE");
        if (way == AT_ONCE)
            request_accept();
    } while (now() < end);
    return failures;
}

/* Waits until a client is let in. The accept that was requested last may still have failed. */
static bool lets_in(enum way way)
{
    struct completion completion;
    if (way == AFTER_A_PAUSE)
        request_accept();
    while (completed(&ring, way == NEVER ? 100 : 10000, &completion)) {
        if (completion.result >= 0) {
            close(completion.result);
            return true;
        }
        request_accept();
    }
    return false;
}

static int try(const char *name, enum way way, bool *let_in)
{
    ring = start_ring();
    listener = listen_on_loopback(1);
    int client = connect_to(port_of(listener)), last = take_all_descriptors();
    request_accept();
    int failures = count_failures(way);
    close(last);
    *let_in = lets_in(way);
    printf("%-23s %d in 100 ms; with a free descriptor the client %s\n", name, failures,
           *let_in ? "is let in" : "waits");
    io_uring_queue_exit(&ring);
    close(client);
    close(listener);
    (void)descriptors(); /* as many as before */
    return failures;
}

int main(void)
{
    bool never, at_once, later;
    int one = try("never requested anew:", NEVER, &never);
    int many = try("requested at once:", AT_ONCE, &at_once);
    int pause = try("requested after 100 ms:", AFTER_A_PAUSE, &later);
    expect(one == 1 && !never, "the accept has ended");
    expect(many > 10 && at_once, "the accept fails again and again");
    expect(pause == 1 && later, "one failure, and service resumes");
    return experiment_failed;
}
