/*
 * enosys PROGRAM [ARGUMENT...]: runs a program as an older kernel would.
 *
 * Every x86-64 system call with a number above 325, the last one of Linux 4.4 (mlock2), answers ENOSYS; so do the
 * calls of the x32 table and of 32-bit programs. The filter is inherited by all that the program starts.
 * Exits 125 where the filter cannot be set and 126 where the program cannot be run.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define LAST_CALL_OF_LINUX_4_4 325

int main(int argc, char **argv)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        /* The numbers of the x32 table have bit 30 set, so they are above as well. */
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, LAST_CALL_OF_LINUX_4_4, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = sizeof rules / sizeof rules[0], .filter = rules};

    if (argc < 2) {
        fprintf(stderr, "use: enosys PROGRAM [ARGUMENT...]\n");
        return 125;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
        fprintf(stderr, "enosys: %s\n", strerror(errno));
        return 125;
    }
    execvp(argv[1], argv + 1);
    fprintf(stderr, "enosys: %s: %s\n", argv[1], strerror(errno));
    return 126;
}
