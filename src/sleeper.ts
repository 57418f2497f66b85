/**
 * The waiting of a loop that looks for work: it sleeps a while, or until it is woken. A wake-up between the look
 * and the sleep is not lost: the next sleep ends at once, until `forget` is called before the next look.
 */
export type Sleeper = {
  wake(): void;
  /** Before a look for work: wake-ups so far are answered by it. */
  forget(): void;
  /** Resolves after `milliseconds`, or at once where it was or is woken. */
  sleep(milliseconds: number): Promise<void>;
};

/** Sleeps through wake-ups until the time is over or `stopped` says so. */
export async function pause(sleeper: Sleeper, milliseconds: number, stopped: () => boolean): Promise<void> {
  const until = performance.now() + milliseconds;
  while (!stopped() && performance.now() < until) {
    sleeper.forget();
    await sleeper.sleep(Math.max(0, until - performance.now()));
  }
}

export function createSleeper(): Sleeper {
  let woken = false;
  let end: (() => void) | null = null;
  return {
    wake: () => {
      woken = true;
      end?.();
    },
    forget: () => {
      woken = false;
    },
    sleep: async (milliseconds) => {
      if (woken) return;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, milliseconds);
        end = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      end = null;
    },
  };
}

/**
 * Does `turn` again and again until it is stopped, each time after the milliseconds that the turn before it gave. A turn
 * throws nothing. Stopping waits for the one under way.
 */
export function repeat(turn: () => Promise<number>): { stop(): Promise<void> } {
  const sleeper = createSleeper();
  let stopped = false;
  const run = async () => {
    while (!stopped) await sleeper.sleep(await turn());
  };
  const running = run();
  return {
    async stop() {
      stopped = true;
      sleeper.wake();
      await running;
    },
  };
}
