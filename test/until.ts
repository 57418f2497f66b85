/** Waiting for what a test expects to come about. */

/** Milliseconds that end a test that hangs, on any machine; how fast something has to be is said by no test this way. */
const PATIENCE = 60_000;

/** Waits until `condition` holds. Throws where that does not come about, with `what`, made then where it is a function. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string) = "what the test expects",
): Promise<void> {
  const end = performance.now() + PATIENCE;
  while (!(await condition())) {
    if (performance.now() > end) {
      throw new Error(`waited ${PATIENCE / 1000} s in vain for ${typeof what === "string" ? what : what()}`);
    }
    await Bun.sleep(2);
  }
}
