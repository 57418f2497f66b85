/** The binary runs on the oldest system it is made for: glibc 2.23, Linux 4.4, a CPU without AVX2. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { binaryPath } from "./lib/binary.ts";
import { needProgram, openPlace, type Place, runToEnd } from "./lib/place.ts";

let place: Place;
let enosys: string;

beforeAll(async () => {
  place = openPlace("old-system");
  enosys = join(place.path, "enosys");
  const compiler = needProgram("cc", "gcc libc6-dev");
  const built = await runToEnd([
    ...[compiler, "-Wall", "-Wextra", "-Werror", "-O1"],
    ...["-o", enosys, join(import.meta.dir, "enosys.c")],
  ]);
  expect(built).toEqual({ code: 0, stdout: "", stderr: "" });
});
afterAll(() => place.close());

/** Runs the binary where no system call is newer than Linux 4.4. */
const onLinux44 = (args: readonly string[], seconds: number, input?: string) =>
  runToEnd([enosys, binaryPath(), ...args], {
    cwd: place.path,
    seconds,
    ...(input === undefined ? {} : { input }),
  });

function compareVersions(a: string, b: string): number {
  const [left, right] = [a.split(".").map(Number), b.split(".").map(Number)];
  for (let at = 0; at < Math.max(left.length, right.length); at++) {
    const difference = (left[at] ?? 0) - (right[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

describe("on glibc 2.23", () => {
  test("no symbol is newer, and the only libraries are those of glibc", async () => {
    const listed = await runToEnd([needProgram("objdump", "binutils"), "-T", "-p", binaryPath()]);
    expect(listed.code).toBe(0);
    const versions = [...listed.stdout.matchAll(/\bGLIBC_(\d+(?:\.\d+)+)\b/g)].map((found) => found[1] ?? "");
    expect(versions.length).toBeGreaterThan(100);
    expect(versions.filter((version) => compareVersions(version, "2.23") > 0)).toEqual([]);
    const libraries = [...listed.stdout.matchAll(/^\s+NEEDED\s+(\S+)$/gm)].map((found) => found[1] ?? "");
    expect(libraries).toContain("libc.so.6");
    const glibc = /^(ld-linux-(x86-64|aarch64)|lib(c|m|dl|pthread|rt))\.so\.\d$/;
    expect(libraries.filter((library) => !glibc.test(library))).toEqual([]);
  });
});

describe.skipIf(process.arch !== "x64")("on Linux 4.4", () => {
  test("the filter answers ENOSYS to a newer system call and nothing else", async () => {
    const script =
      "import ctypes, sys\nlibc = ctypes.CDLL(None, use_errno=True)\n" +
      "print(libc.syscall(332, 0, 0, 0, 0, 0), ctypes.get_errno(), libc.syscall(39) > 0)";
    const python = needProgram("python3", "python3");
    expect((await runToEnd([enosys, python, "-c", script])).stdout).toBe("-1 38 True\n");
    expect((await runToEnd([python, "-c", script])).stdout).toBe("-1 14 True\n");
  });

  test("it says its version", async () => {
    const ran = await onLinux44(["--version"], 20);
    expect(ran).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^email-sensor \d+\.\d+\.\d+\n$/),
      stderr: "",
    });
  });

  test("it takes a mail apart", async () => {
    const mail =
      "From: a@example.com\r\nSubject: old\r\nMIME-Version: 1.0\r\n" +
      'Content-Type: application/octet-stream; name="file.bin"\r\nContent-Transfer-Encoding: base64\r\n\r\n' +
      `${Buffer.from("four bytes").toString("base64")}\r\n`;
    const ran = await onLinux44(["scan", "--json", "-"], 30, mail);
    expect(ran.stderr).toBe("");
    expect(ran.code).toBe(0);
    expect(JSON.parse(ran.stdout)).toMatchObject({
      error: null,
      mail: { subject: "old" },
      attachments: [{ filename: "file.bin", size: 10 }],
    });
  });

  test("it does its whole job: the demo", async () => {
    const ran = await onLinux44(["demo"], 110);
    expect(ran.code === 0 ? "" : `${ran.stdout}${ran.stderr}`).toBe("");
    expect(ran.stdout).toContain("malicious");
  });
});
