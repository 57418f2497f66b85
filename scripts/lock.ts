/**
 * Completes package-lock.json: an entry for each optional package of another platform.
 *
 * npm leaves out the ones its registry does not hold when it writes the lock file, and then `npm ci` of npm 11
 * refuses the file as out of step with package.json. The entries added here carry the version and the platform, so
 * that npm skips them where they do not belong. Run it after each `npm install`; with `--check` it writes nothing
 * and exits 1 where entries are missing.
 */
type Entry = {
  readonly dev?: boolean;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
};
type Packages = Record<string, Entry>;

const OS_NAMES = ["linux", "darwin", "win32", "android", "freebsd"];
const CPU_NAMES: Readonly<Record<string, string>> = {
  x64: "x64",
  arm64: "arm64",
  aarch64: "arm64",
  armv7: "arm",
};

/** What npm needs to know of a package like `@scope/tool-linux-arm64-musl`, read from its name. */
function platformOf(name: string): { readonly os: string; readonly cpu: string; readonly libc?: string } {
  const words = name.split(/[/-]/);
  const os = words.find((word) => OS_NAMES.includes(word));
  const cpu = words.map((word) => CPU_NAMES[word]).find((word) => word !== undefined);
  if (os === undefined || cpu === undefined) {
    throw new Error(`the name of ${name} does not say its platform: add its words to scripts/lock.ts`);
  }
  return words.includes("musl") ? { os, cpu, libc: "musl" } : { os, cpu };
}

/** The entries that are named as optional dependencies and not in the file, by their place in it. */
function missingEntries(packages: Packages): Packages {
  const missing: Packages = {};
  for (const of of Object.values(packages)) {
    for (const [name, version] of Object.entries(of.optionalDependencies ?? {})) {
      const place = `node_modules/${name}`;
      if (packages[place] !== undefined) continue;
      const { os, cpu, libc } = platformOf(name);
      const added = {
        version,
        cpu: [cpu],
        ...(of.dev === true ? { dev: true } : {}),
        ...(libc === undefined ? {} : { libc: [libc] }),
        optional: true,
        os: [os],
      };
      missing[place] = added;
    }
  }
  return missing;
}

const file = Bun.file(new URL("../package-lock.json", import.meta.url));
const lock = (await file.json()) as { readonly packages: Packages };
const missing = missingEntries(lock.packages);
const names = Object.keys(missing);

if (names.length === 0) {
  process.stdout.write("package-lock.json names every optional package\n");
} else if (process.argv.includes("--check")) {
  process.stderr.write(`package-lock.json lacks ${names.join(", ")}: run scripts/bun.sh scripts/lock.ts\n`);
  process.exitCode = 1;
} else {
  const packages = Object.fromEntries(
    Object.entries({ ...lock.packages, ...missing }).sort(([a], [b]) => a.localeCompare(b, "en")),
  );
  await file.write(`${JSON.stringify({ ...lock, packages }, null, 2)}\n`);
  process.stdout.write(`package-lock.json: added ${names.join(", ")}\n`);
}
