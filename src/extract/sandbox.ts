/**
 * Takes away from a helper what parsing needs not: the network, other programs, other processes.
 *
 * A seccomp filter answers EPERM to the system calls for these, in every thread of the process and for good. What is
 * left is memory, threads of its own, and files. Limits of the process keep it from core dumps, from many
 * descriptors, and from filling the disk.
 */
import { dlopen, FFIType, ptr } from "bun:ffi";

const PR_SET_PDEATHSIG = 1;
const PR_SET_NO_NEW_PRIVS = 38;
const SIGKILL = 9n;
const SECCOMP_SET_MODE_FILTER = 1n;
const SECCOMP_FILTER_FLAG_TSYNC = 1n;
const SECCOMP_RET_ALLOW = 0x7fff0000;
const SECCOMP_RET_ERRNO = 0x00050000;
const EPERM = 1;
const ENOSYS = 38;
/** Of clone(2): a new thread, not a new process. */
const CLONE_THREAD = 0x10000;
const RLIMIT_FSIZE = 1;
const RLIMIT_CORE = 4;
const RLIMIT_NOFILE = 7;
const MAX_FILE = 4n * 1024n ** 3n;
const MAX_DESCRIPTORS = 256n;

/** Numbers of system calls of one architecture (Linux, arch/.../syscalls). */
type Machine = {
  /** AUDIT_ARCH of linux/audit.h. */
  readonly audit: number;
  readonly seccomp: number;
  readonly clone: number;
  readonly clone3: number;
  readonly tgkill: number;
  readonly denied: readonly number[];
};

const MACHINES: Readonly<Record<string, Machine>> = {
  x64: {
    audit: 0xc000003e,
    seccomp: 317,
    clone: 56,
    clone3: 435,
    tgkill: 234,
    denied: [
      // socket, connect, accept, bind, listen, socketpair, accept4; the pipes to the pool may be sockets themselves
      ...[41, 42, 43, 49, 50, 53, 288],
      // fork, vfork, execve, execveat
      ...[57, 58, 59, 322],
      // kill, tkill, rt_sigqueueinfo, rt_tgsigqueueinfo, pidfd_send_signal
      ...[62, 200, 129, 297, 424],
      // ptrace, process_vm_readv, process_vm_writev, pidfd_getfd, kcmp
      ...[101, 310, 311, 438, 312],
      // mount, umount2, pivot_root, chroot, unshare, setns
      ...[165, 166, 155, 161, 272, 308],
      // bpf, io_uring_setup, perf_event_open, keyctl, add_key, request_key, userfaultfd
      ...[321, 425, 298, 250, 248, 249, 323],
    ],
  },
  arm64: {
    audit: 0xc00000b7,
    seccomp: 277,
    clone: 220,
    clone3: 435,
    tgkill: 131,
    denied: [
      // socket, socketpair, bind, listen, accept, connect, accept4
      ...[198, 199, 200, 201, 202, 203, 242],
      // execve, execveat
      ...[221, 281],
      // kill, tkill, rt_sigqueueinfo, rt_tgsigqueueinfo, pidfd_send_signal
      ...[129, 130, 138, 240, 424],
      // ptrace, process_vm_readv, process_vm_writev, pidfd_getfd, kcmp
      ...[117, 270, 271, 438, 272],
      // mount, umount2, pivot_root, chroot, unshare, setns
      ...[40, 39, 41, 51, 97, 268],
      // bpf, io_uring_setup, perf_event_open, keyctl, add_key, request_key, userfaultfd
      ...[280, 425, 241, 219, 217, 218, 282],
    ],
  },
};

/**
 * Isolates this process. False where the kernel has no seccomp filters, or the machine is not known: everything else
 * is done then. Has the kernel kill it, too, when its parent dies, even in the middle of a loop.
 */
export function isolate(): boolean {
  const libc = dlopen("libc.so.6", {
    prctl: { args: ["int", "u64", "u64", "u64", "u64"], returns: "int" },
    syscall: { args: ["i64", "u64", "u64", FFIType.ptr], returns: "i64" },
    setrlimit: { args: ["int", FFIType.ptr], returns: "int" },
  });
  const { prctl, syscall, setrlimit } = libc.symbols;
  try {
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0n, 0n, 0n);
    for (const [resource, most] of [
      [RLIMIT_CORE, 0n],
      [RLIMIT_FSIZE, MAX_FILE],
      [RLIMIT_NOFILE, MAX_DESCRIPTORS],
    ] as const) {
      setrlimit(resource, ptr(new BigUint64Array([most, most])));
    }
    const machine = MACHINES[process.arch];
    if (machine === undefined || prctl(PR_SET_NO_NEW_PRIVS, 1n, 0n, 0n, 0n) !== 0) return false;
    const filter = filterOf(machine);
    // struct sock_fprog: the number of instructions, and where they are.
    const program = new BigUint64Array([BigInt(filter.length / 8), BigInt(ptr(filter))]);
    return (
      syscall(BigInt(machine.seccomp), SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, ptr(program)) ===
      0n
    );
  } finally {
    libc.close();
  }
}

// Classic BPF: BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, ...|BPF_JGE, ...|BPF_JSET, BPF_RET|BPF_K.
const LOAD = 0x20;
const IF_EQUAL = 0x15;
const IF_AT_LEAST = 0x35;
const IF_ANY_BIT = 0x45;
const RETURN = 0x06;
/** Offsets in struct seccomp_data. */
const NUMBER = 0;
const ARCHITECTURE = 4;
const FIRST_ARGUMENT = 16;
/** System calls of the x32 ABI have this bit. */
const X32 = 0x40000000;

/** The filter as an array of struct sock_filter. */
function filterOf({ audit, clone, clone3, tgkill, denied }: Machine): Uint8Array {
  type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, k: number];
  const refuse = (error: number): Instruction => [RETURN, 0, 0, SECCOMP_RET_ERRNO | error];
  const program: readonly Instruction[] = [
    [LOAD, 0, 0, ARCHITECTURE],
    [IF_EQUAL, 1, 0, audit],
    refuse(EPERM),
    [LOAD, 0, 0, NUMBER],
    [IF_AT_LEAST, 0, 1, X32],
    refuse(EPERM),
    ...denied.flatMap((number): readonly Instruction[] => [[IF_EQUAL, 0, 1, number], refuse(EPERM)]),
    // The C library falls back to clone, whose arguments a filter can see.
    [IF_EQUAL, 0, 1, clone3],
    refuse(ENOSYS),
    // The engine stops its own threads by signals.
    [IF_EQUAL, 0, 4, tgkill],
    [LOAD, 0, 0, FIRST_ARGUMENT],
    [IF_EQUAL, 1, 0, process.pid],
    refuse(EPERM),
    [RETURN, 0, 0, SECCOMP_RET_ALLOW],
    [IF_EQUAL, 0, 3, clone],
    [LOAD, 0, 0, FIRST_ARGUMENT],
    [IF_ANY_BIT, 1, 0, CLONE_THREAD],
    refuse(EPERM),
    [RETURN, 0, 0, SECCOMP_RET_ALLOW],
  ];
  const bytes = new DataView(new ArrayBuffer(program.length * 8));
  for (const [at, [code, ifTrue, ifFalse, k]] of program.entries()) {
    bytes.setUint16(at * 8, code, true);
    bytes.setUint8(at * 8 + 2, ifTrue);
    bytes.setUint8(at * 8 + 3, ifFalse);
    bytes.setUint32(at * 8 + 4, k, true);
  }
  return new Uint8Array(bytes.buffer);
}
