/**
 * Runs 7-Zip (7zz.wasm of the package 7z-wasm) on one archive, with nothing around it but what stands here.
 *
 * The package's own JavaScript brings a file system and the process of Node with it. Here the program sees one
 * read-only file, ARCHIVE_PATH, and an output folder whose files are sinks of the caller; a name in an archive
 * reaches nothing, since there is nothing to reach. Every call is a fresh instance, so no state survives one.
 * Memory of the instance is bounded, and each system call asks `expired`, which ends the run.
 */
import wasmPath from "7z-wasm/7zz.wasm" with { type: "file" };

export const ARCHIVE_PATH = "/in";
export const OUTPUT_FOLDER = "/out/";
/** Most memory of one run: dictionaries of 128 MB still fit. */
const MEMORY_MAX = 192 * 1024 * 1024;
const PAGE = 65_536;
/** Names longer than this are cut: no program makes them. */
const PATH_MAX = 8192;

/** A file 7-Zip writes. */
export type Sink = {
  /** The bytes belong to the caller. False ends the run. */
  readonly write: (bytes: Uint8Array) => boolean;
  readonly close: () => void;
};

export type SevenZipRun = {
  /** Without the name of the program. */
  readonly args: readonly string[];
  readonly archive: Uint8Array;
  /** True where the time is over. */
  readonly expired: () => boolean;
  /** What 7-Zip prints. False ends the run. */
  readonly print: (bytes: Uint8Array) => boolean;
  /** What 7-Zip prints about errors and progress. False ends the run. */
  readonly complain: (bytes: Uint8Array) => boolean;
  /** Called for each file to be written, with its path under OUTPUT_FOLDER; null refuses it, and 7-Zip goes on. */
  readonly create: (path: string) => Sink | null;
};

/**
 * "ended" with the exit status of 7-Zip (0 fine, 1 warning, 2 error, 8 memory); "stopped" by the caller;
 * "expired"; "crashed" where 7-Zip threw or trapped, as it does for lack of memory.
 */
export type SevenZipEnd =
  | { readonly kind: "ended"; readonly status: number }
  | { readonly kind: "stopped" | "expired" | "crashed" };

/** Error numbers of WASI, as emscripten's C library has them. */
const EACCES = 2;
const EBADF = 8;
const EINVAL = 28;
const ENOENT = 44;
const ENOTTY = 59;
const EPERM = 63;
const S_IFDIR = 0o040_755;
const S_IFREG = 0o100_644;
const S_IFCHR = 0o020_666;
const O_ACCMODE = 3;
const FIRST_FILE = 3;

/** Ends a run from inside a system call. 7-Zip cannot catch it. */
class Halt extends Error {
  readonly end: SevenZipEnd;
  constructor(end: SevenZipEnd) {
    super(end.kind);
    this.end = end;
  }
}

let compiled: Promise<WebAssembly.Module> | undefined;

function load(): Promise<WebAssembly.Module> {
  compiled ??= Bun.file(wasmPath)
    .arrayBuffer()
    .then((bytes) => WebAssembly.compile(bytes));
  return compiled;
}

export async function runSevenZip(run: SevenZipRun): Promise<SevenZipEnd> {
  const program = await load();
  const host = createHost(run);
  try {
    const instance = new WebAssembly.Instance(program, {
      env: host.calls,
      wasi_snapshot_preview1: host.calls,
    });
    const exports = instance.exports as unknown as Exports;
    host.attach(exports.memory);
    exports.__wasm_call_ctors();
    return {
      kind: "ended",
      status: exports.__main_argc_argv(run.args.length + 1, putArgs(exports, run.args)),
    };
  } catch (fault) {
    return fault instanceof Halt ? fault.end : { kind: "crashed" };
  } finally {
    host.close();
  }
}

type Exports = {
  readonly memory: WebAssembly.Memory;
  readonly __wasm_call_ctors: () => void;
  readonly __main_argc_argv: (argc: number, argv: number) => number;
  readonly _emscripten_stack_alloc: (size: number) => number;
};

/** Writes argv to the stack of the program. */
function putArgs(exports: Exports, args: readonly string[]): number {
  const texts = ["7zz", ...args].map((arg) => new TextEncoder().encode(`${arg}\0`));
  const places = texts.map((text) => exports._emscripten_stack_alloc(text.length));
  const argv = exports._emscripten_stack_alloc((texts.length + 1) * 4);
  const bytes = new Uint8Array(exports.memory.buffer);
  const view = new DataView(exports.memory.buffer);
  texts.forEach((text, index) => {
    bytes.set(text, places[index] ?? 0);
    view.setUint32(argv + index * 4, places[index] ?? 0, true);
  });
  view.setUint32(argv + texts.length * 4, 0, true);
  return argv;
}

type Open = { readonly sink: Sink | null; at: number };
type Calls = Record<string, (...args: never[]) => unknown>;

function createHost(run: SevenZipRun): {
  readonly calls: Calls;
  readonly attach: (memory: WebAssembly.Memory) => void;
  readonly close: () => void;
} {
  let memory: WebAssembly.Memory;
  let heap = new Uint8Array();
  let view = new DataView(heap.buffer);
  const files = new Map<number, Open>();
  let nextFile = FIRST_FILE;
  let lastCreated: string | null = null;
  const renew = (): void => {
    if (heap.buffer === memory.buffer) return;
    heap = new Uint8Array(memory.buffer);
    view = new DataView(memory.buffer);
  };
  const tick = (): void => {
    renew();
    if (run.expired()) throw new Halt({ kind: "expired" });
  };
  const text = (at: number): string => {
    const end = heap.indexOf(0, at);
    return new TextDecoder().decode(heap.subarray(at, Math.min(end < 0 ? at : end, at + PATH_MAX)));
  };
  const putStat = (at: number, mode: number, size: number): number => {
    heap.fill(0, at, at + 96);
    view.setInt32(at, 1, true);
    view.setInt32(at + 4, mode, true);
    view.setUint32(at + 8, 1, true);
    view.setBigInt64(at + 24, BigInt(size), true);
    view.setInt32(at + 32, 4096, true);
    view.setInt32(at + 36, Math.ceil(size / 512), true);
    view.setBigInt64(at + 88, BigInt(at), true);
    return 0;
  };
  /** Of all paths only the archive, folders and the file written last exist; 7-Zip sets attributes of that one. */
  const statPath = (path: string, at: number): number => {
    if (path === ARCHIVE_PATH) return putStat(at, S_IFREG, run.archive.length);
    if (path === lastCreated) return putStat(at, S_IFREG, 0);
    if (path === "/" || `${path}/` === OUTPUT_FOLDER || path === OUTPUT_FOLDER)
      return putStat(at, S_IFDIR, 0);
    return -ENOENT;
  };
  const fromStart = (from: number): string => {
    tick();
    return text(from);
  };
  const openFile = (path: string, flags: number): number => {
    if ((flags & O_ACCMODE) === 0) {
      if (path !== ARCHIVE_PATH) return -ENOENT;
      files.set(nextFile, { sink: null, at: 0 });
      return nextFile++;
    }
    if (!path.startsWith(OUTPUT_FOLDER)) return -EACCES;
    const sink = run.create(path.slice(OUTPUT_FOLDER.length));
    if (sink === null) return -EACCES;
    lastCreated = path;
    files.set(nextFile, { sink, at: 0 });
    return nextFile++;
  };
  const read = (file: Open, at: number, length: number): number => {
    const piece = run.archive.subarray(file.at, file.at + length);
    heap.set(piece, at);
    file.at += piece.length;
    return piece.length;
  };
  const write = (fd: number, file: Open | undefined, at: number, length: number): void => {
    const piece = heap.slice(at, at + length);
    const goOn =
      fd === 2 ? run.complain(piece) : file?.sink == null ? run.print(piece) : file.sink.write(piece);
    if (!goOn) throw new Halt({ kind: "stopped" });
  };
  const putTime = (seconds: bigint, at: number): number => {
    tick();
    const date = new Date(Math.max(-8.64e12, Math.min(8.64e12, Number(seconds))) * 1000);
    const fields = [
      date.getUTCSeconds(),
      date.getUTCMinutes(),
      date.getUTCHours(),
      date.getUTCDate(),
      date.getUTCMonth(),
      date.getUTCFullYear() - 1900,
      date.getUTCDay(),
    ];
    for (let index = 0; index < 11; index++) view.setInt32(at + index * 4, fields[index] ?? 0, true);
    return 0;
  };

  const calls: Calls = {
    __cxa_throw: () => {
      throw new Halt({ kind: "crashed" });
    },
    _abort_js: () => {
      throw new Halt({ kind: "crashed" });
    },
    exit: (status: number) => {
      throw new Halt({ kind: "ended", status });
    },
    __syscall_openat: (_folder: number, path: number, flags: number) => openFile(fromStart(path), flags),
    __syscall_stat64: (path: number, at: number) => statPath(fromStart(path), at),
    __syscall_lstat64: (path: number, at: number) => statPath(fromStart(path), at),
    __syscall_newfstatat: (_folder: number, path: number, at: number) => statPath(fromStart(path), at),
    __syscall_fstat64: (fd: number, at: number) => {
      tick();
      const file = files.get(fd);
      if (file === undefined) return fd < FIRST_FILE ? putStat(at, S_IFCHR, 0) : -EBADF;
      return putStat(at, S_IFREG, file.sink === null ? run.archive.length : file.at);
    },
    __syscall_getcwd: (at: number, size: number) => {
      tick();
      if (size < 2) return -EINVAL;
      heap.set([0x2f, 0], at);
      return 2;
    },
    // Folders are made and names changed nowhere; sizes told ahead of the data are not believed.
    __syscall_mkdirat: () => 0,
    __syscall_ftruncate64: () => 0,
    __syscall_chmod: () => 0,
    __syscall_fchownat: () => 0,
    __syscall_utimensat: () => 0,
    __syscall_unlinkat: () => 0,
    __syscall_rmdir: () => 0,
    __syscall_renameat: () => 0,
    __syscall_symlinkat: () => -EPERM,
    __syscall_readlinkat: () => -ENOENT,
    __syscall_getdents64: () => 0,
    __syscall_ioctl: () => -ENOTTY,
    fd_close: (fd: number) => {
      const file = files.get(fd);
      files.delete(fd);
      file?.sink?.close();
      return 0;
    },
    fd_fdstat_get: (fd: number, at: number) => {
      tick();
      heap.fill(0, at, at + 24);
      heap[at] = fd < FIRST_FILE ? 2 : 4;
      return 0;
    },
    fd_seek: (fd: number, offset: bigint, whence: number, at: number) => {
      tick();
      const file = files.get(fd);
      if (file === undefined) return EBADF;
      const base =
        whence === 0 ? 0 : whence === 1 ? file.at : file.sink === null ? run.archive.length : file.at;
      const place = base + Number(offset);
      if (!(place >= 0)) return EINVAL;
      // A sink has no places: what is written follows what was written.
      if (file.sink === null) file.at = place;
      view.setBigInt64(at, BigInt(place), true);
      return 0;
    },
    fd_read: (fd: number, vectors: number, count: number, at: number) => {
      tick();
      const file = files.get(fd);
      let total = 0;
      for (let index = 0; index < count && file !== undefined && file.sink === null; index++) {
        const length = view.getUint32(vectors + index * 8 + 4, true);
        const got = read(file, view.getUint32(vectors + index * 8, true), length);
        total += got;
        if (got < length) break;
      }
      view.setUint32(at, total, true);
      return 0;
    },
    fd_write: (fd: number, vectors: number, count: number, at: number) => {
      tick();
      const file = files.get(fd);
      if (fd >= FIRST_FILE && (file === undefined || file.sink === null)) return EBADF;
      let total = 0;
      for (let index = 0; index < count; index++) {
        const length = view.getUint32(vectors + index * 8 + 4, true);
        if (length > 0) write(fd, file, view.getUint32(vectors + index * 8, true), length);
        total += length;
      }
      if (file !== undefined) file.at += total;
      view.setUint32(at, total, true);
      return 0;
    },
    clock_time_get: (_clock: number, _precision: bigint, at: number) => {
      tick();
      view.setBigInt64(at, BigInt(Math.round(performance.now() * 1e6)), true);
      return 0;
    },
    emscripten_date_now: () => {
      tick();
      return Date.now();
    },
    _gmtime_js: putTime,
    _localtime_js: putTime,
    _mktime_js: () => 0n,
    _tzset_js: (zone: number, daylight: number, standardName: number, daylightName: number) => {
      tick();
      view.setUint32(zone, 0, true);
      view.setInt32(daylight, 0, true);
      heap[standardName] = 0;
      heap[daylightName] = 0;
    },
    environ_sizes_get: (count: number, size: number) => {
      tick();
      view.setUint32(count, 1, true);
      view.setUint32(size, LOCALE.length, true);
      return 0;
    },
    environ_get: (list: number, at: number) => {
      tick();
      view.setUint32(list, at, true);
      heap.set(LOCALE, at);
      return 0;
    },
    emscripten_get_heap_max: () => MEMORY_MAX,
    emscripten_resize_heap: (wanted: number) => {
      tick();
      const size = wanted >>> 0;
      if (size > MEMORY_MAX) return 0;
      // A little more than asked for, so that many small requests do not grow it each time.
      const target = Math.min(MEMORY_MAX, Math.max(size, heap.length + heap.length / 8));
      try {
        memory.grow(Math.ceil((target - heap.length) / PAGE));
      } catch {
        return 0;
      }
      renew();
      return 1;
    },
  };
  return {
    calls,
    attach: (given) => {
      memory = given;
      renew();
    },
    close: () => {
      for (const file of files.values()) file.sink?.close();
      files.clear();
    },
  };
}

const LOCALE = new TextEncoder().encode("LANG=C.UTF-8\0");
