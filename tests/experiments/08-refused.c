/* io_uring refused, as containers do.
 *
 * Docker and others forbid io_uring_setup() by a filter of system calls (seccomp), and an
 * administrator can forbid it to all by the sysctl kernel.io_uring_disabled. Either way the call
 * fails with EPERM. A kernel that does not have io_uring says ENOSYS. The sockets, and epoll, are
 * untouched: a program that has to run anywhere needs both.
 *
 * Needs: linux uring
 *
 * Expect:
 *   io_uring_queue_init(): 0
 *   under a filter of system calls: Operation not permitted
 *   there, epoll_create1() returns a descriptor: yes
 */
#include "uring.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* A program for the kernel: it looks at the number of each system call. */
static bool forbid_io_uring(void)
{
    struct sock_filter lines[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof lines / sizeof *lines, lines};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

int main(void)
{
    struct io_uring ring = start_ring();
    printf("io_uring_queue_init(): 0\n");
    io_uring_queue_exit(&ring);
    if (!forbid_io_uring())
        skip("a filter of system calls is forbidden, too");
    int error = io_uring_queue_init(REQUESTS, &ring, 0), epoll = epoll_create1(0);
    printf("under a filter of system calls: %s\n", strerror(-error));
    printf("there, epoll_create1() returns a descriptor: %s\n", epoll < 0 ? "no" : "yes");
    expect(error == -EPERM && epoll >= 0, "io_uring alone is refused");
    return experiment_failed;
}
