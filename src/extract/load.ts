/**
 * Tells whether this process, without its helpers, needs most of a CPU itself: that is when mails come in about as
 * fast as it can take them.
 */
export type Load = {
  readonly busy: () => boolean;
  readonly stop: () => void;
};

/** Share of one CPU from which on it is busy. */
const BUSY = 0.6;
const LOOK_EVERY = 100;

export function watchLoad(): Load {
  let before = process.cpuUsage();
  let at = performance.now();
  let busy = false;
  const timer = setInterval(() => {
    const now = performance.now();
    const { user, system } = process.cpuUsage(before);
    busy = (user + system) / 1000 > BUSY * (now - at);
    before = process.cpuUsage();
    at = now;
  }, LOOK_EVERY);
  return { busy: () => busy, stop: () => clearInterval(timer) };
}
