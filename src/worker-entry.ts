/**
 * Where the entry points of threads are. `scripts/build.sh` compiles each into the binary.
 *
 * The compiled program has them at the place they have below `src/`.
 */

export function workerEntry(name: "spool/thread-worker" | "alert/template-worker"): string {
  return import.meta.path.startsWith("/$bunfs/")
    ? `/$bunfs/root/${name}.js`
    : new URL(`./${name}.ts`, import.meta.url).href;
}
