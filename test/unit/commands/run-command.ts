/** Commands as users call them, in a process of their own. */

const MAIN = new URL("../../../src/main.ts", import.meta.url).pathname;

/** Runs `email-sensor ARGS` from source in the folder; `rows` reads what was printed as one JSON value a line. */
export async function runCommand(args: readonly string[], cwd: string, stdin = "") {
  const child = Bun.spawn([process.execPath, MAIN, ...args], {
    stdin: Buffer.from(stdin),
    stdout: "pipe",
    stderr: "pipe",
    cwd,
  });
  const [out, errors, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return {
    out,
    errors,
    code,
    rows: () =>
      out
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line)),
  };
}
