/**
 * A place for one system test: a folder under the system's temporary folder and the processes started in it.
 *
 * What is started in a place is ended with it, last first, whatever the test did; a test run that is ended early
 * ends them too. Nothing outside the folder is written, and no port number is fixed.
 */
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

export type Place = {
  /** The folder; readable by the users that servers change to. */
  readonly path: string;
  /** Runs `step` when the place is closed; steps run in the opposite order. */
  onClose(step: () => Promise<void> | void): void;
  close(): Promise<void>;
};

/** A process of a place. Its output is in a file, so that a full pipe can never stop it. */
export type Started = {
  readonly pid: number;
  readonly stdoutPath: string;
  readonly stderrPath: string;
  stdout(): string;
  stderr(): string;
  /** Null while it runs. */
  exitCode(): number | null;
  /** Sends the signal and waits until the process is gone; after `seconds` it is killed. */
  stop(signal?: "SIGTERM" | "SIGINT" | "SIGKILL", seconds?: number): Promise<number | null>;
};

/** Seconds after which what was waited for will not come any more, on a slow machine that is busy with other things. */
const PATIENCE = 180;
/** When a wait was in vain: the processes started last, the logs written last, and of each its end. */
const SHOWN_PROCESSES = 12;
const SHOWN_LOGS = 5;
const SHOWN_LINES = 20;
const SHOWN_LENGTH = 400;

const alive = new Set<number>();
const open = new Set<string>();
/** Of the open places, in the order in which they were started. */
const started: { readonly name: string; readonly pid: number; exitCode(): number | null; path: string }[] =
  [];
process.on("exit", () => {
  for (const pid of alive) signalQuietly(pid, "SIGKILL");
  for (const path of open) {
    for (const [, mounted = ""] of readFileSync("/proc/mounts", "utf8").matchAll(/^\S+ (\S+)/gm))
      if (mounted.startsWith(`${path}/`)) Bun.spawnSync(["umount", "--lazy", mounted]);
    rmSync(path, { recursive: true, force: true });
  }
});

process.on("SIGTERM", () => process.exit(143));

/** Signals a process that may be gone already. */
export function signalQuietly(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (thrown) {
    if (!(thrown instanceof Error && "code" in thrown && thrown.code === "ESRCH")) throw thrown;
  }
}

/** Remembers a process that was not started by {@link start} (a daemon), to be killed with this one. */
export function endWithTests(pid: number): void {
  alive.add(pid);
}

/** Opens a place, under the system's temporary folder or another one. */
export function openPlace(name: string, under: string = tmpdir()): Place {
  const path = mkdtempSync(join(under, `email-sensor-${name}-`));
  chmodSync(path, 0o755);
  open.add(path);
  const steps: (() => Promise<void> | void)[] = [];
  return {
    path,
    onClose: (step) => void steps.push(step),
    async close() {
      for (let step = steps.pop(); step !== undefined; step = steps.pop()) await step();
      rmSync(path, { recursive: true, force: true });
      open.delete(path);
      started.splice(0, started.length, ...started.filter((process) => process.path !== path));
    },
  };
}

/** Starts a program in the place; ended with it. */
export function start(
  place: Place,
  name: string,
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Started {
  const stdoutPath = join(place.path, `${name}.stdout`);
  const stderrPath = join(place.path, `${name}.stderr`);
  const child = Bun.spawn([...command], {
    cwd: place.path,
    env: { ...process.env, ...env },
    stdin: "ignore",
    stdout: Bun.file(stdoutPath),
    stderr: Bun.file(stderrPath),
  });
  alive.add(child.pid);
  void child.exited.then(() => alive.delete(child.pid));
  const read = (path: string) => (existsSync(path) ? readFileSync(path, "utf8") : "");
  const running: Started = {
    pid: child.pid,
    stdoutPath,
    stderrPath,
    stdout: () => read(stdoutPath),
    stderr: () => read(stderrPath),
    exitCode: () => child.exitCode ?? (child.signalCode === null ? null : 128),
    async stop(signal = "SIGTERM", seconds = PATIENCE) {
      child.kill(signal);
      const timer = setTimeout(() => child.kill("SIGKILL"), seconds * 1000);
      await child.exited;
      clearTimeout(timer);
      return child.exitCode;
    },
  };
  started.push({ name, pid: child.pid, exitCode: running.exitCode, path: place.path });
  place.onClose(async () => void (await running.stop()));
  return running;
}

/** Runs a program to its end; never throws for its exit code. After `seconds` it is killed, which throws. */
export async function runToEnd(
  command: readonly string[],
  options: {
    readonly cwd?: string;
    readonly env?: Readonly<Record<string, string>>;
    readonly seconds?: number;
    readonly input?: string | Uint8Array;
  } = {},
): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  const seconds = options.seconds ?? PATIENCE;
  const child = Bun.spawn([...command], {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { ...process.env, ...options.env },
    stdin: options.input === undefined ? "ignore" : Buffer.from(options.input),
    stdout: "pipe",
    stderr: "pipe",
  });
  alive.add(child.pid);
  void child.exited.then(() => alive.delete(child.pid));
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill("SIGKILL");
  }, seconds * 1000);
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  clearTimeout(timer);
  if (late)
    throw new Error(`killed after ${seconds} s: ${command.join(" ")}\n${stdout}${stderr}\n${situation()}`);
  return { code: child.exitCode ?? 128, stdout, stderr };
}

/** The path of a program a test needs. Throws with the Debian package that has it. */
export function needProgram(program: string, debianPackage: string): string {
  const path = Bun.which(program, { PATH: `${process.env.PATH}:/usr/sbin:/sbin` });
  if (path === null) throw new Error(`this test needs ${program}: apt-get install ${debianPackage}`);
  return path;
}

/**
 * Asks `probe` until it gives something else than undefined, at most `seconds`; then throws with `what`, which of the
 * processes of this test still live, and the end of what each of them wrote. The time is there to end a test that hangs,
 * on any machine: it says nothing of how fast something has to be.
 */
export async function waitFor<T>(
  what: string,
  probe: () => T | undefined | Promise<T | undefined>,
  seconds = PATIENCE,
): Promise<T> {
  const end = performance.now() + seconds * 1000;
  for (;;) {
    const found = await probe();
    if (found !== undefined) return found;
    if (performance.now() > end) throw new Error(`waited ${seconds} s in vain for ${what}\n${situation()}`);
    await Bun.sleep(20);
  }
}

/** How the processes of the open places are, and the ends of their logs. */
function situation(): string {
  const states = started.map(({ name, pid, exitCode }) => {
    const code = exitCode();
    return `${name} (process ${pid}) ${code === null ? "lives" : `ended with ${code}`}`;
  });
  const logs = [...open].flatMap((path) =>
    readdirSync(path, { recursive: true, encoding: "utf8" })
      .filter((file) => /\.(?:stdout|stderr|log)$/.test(file))
      .map((file) => ({ file, end: endOf(join(path, file)), written: statSync(join(path, file)).mtimeMs }))
      .filter(({ end }) => end !== "")
      .toSorted((a, b) => a.written - b.written)
      .slice(-SHOWN_LOGS)
      .map(({ file, end }) => `--- the end of ${basename(path)}/${file}\n${end}`),
  );
  return [...states.slice(-SHOWN_PROCESSES), ...logs].join("\n");
}

function endOf(path: string): string {
  const lines = readFileSync(path, "utf8").trimEnd().split("\n").slice(-SHOWN_LINES);
  return lines
    .map((line) => (line.length > SHOWN_LENGTH ? `${line.slice(0, SHOWN_LENGTH)} ...` : line))
    .join("\n");
}
