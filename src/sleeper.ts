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
