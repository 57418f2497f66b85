/** Milliseconds of CPU time this process has used: what else the machine does is not in it. */
export function cpuNow(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
