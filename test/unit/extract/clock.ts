/** Milliseconds of CPU time this process has used: what else the machine does is not in it. */
export function cpuNow(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

const RUNS = 5;

/**
 * The least milliseconds of CPU that a run takes, of a few; none follows one that stays below `bound`. Where processes
 * share cores and caches, one run costs several times its usual now and then: what grows too fast does so in each.
 */
export async function leastCpu(bound: number, run: () => unknown): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let runs = 0; runs < RUNS && least >= bound; runs += 1) {
    const begin = cpuNow();
    await run();
    least = Math.min(least, cpuNow() - begin);
  }
  return least;
}
