/** THIRD-PARTY-NOTICES.md: the licences of all that is compiled into the binary, from the packages themselves. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Glob } from "bun";
import lock from "../../package-lock.json" with { type: "json" };
import { table } from "./markdown.ts";

const TOP = join(import.meta.dir, "../..");
const LICENSE_FILE = /^(?:licen[cs]e|copying|notice|unrar)/i;
/** Of a package under a choice of licences the other ones. */
const NOT_CHOSEN = /eupl|cc0/i;

type LockedPackage = { readonly version?: string; readonly license?: string; readonly dev?: boolean };
type Notice = { readonly title: string; readonly license: string; readonly texts: readonly string[] };

/** What packages carry inside that has a licence of its own. */
const WITHIN: Readonly<Record<string, { readonly license: string; readonly texts: readonly string[] }>> = {
  "7z-wasm": {
    license: "LGPL-2.1-or-later with the unRAR restriction",
    texts: ["scripts/docs/lgpl-2.1.txt"],
  },
  "@jsquash/webp": {
    license: "Apache-2.0; libwebp in it: BSD-3-Clause",
    texts: ["node_modules/@jsquash/webp/codec/LICENSE.codec.md"],
  },
  "zxing-wasm": {
    license: "MIT; ZXing-C++ in it: Apache-2.0",
    texts: ["node_modules/@grpc/proto-loader/LICENSE"],
  },
};

const read = (path: string): string => readFileSync(join(TOP, path), "utf8");

/** Where a package lies: as in the lock file after npm, perhaps elsewhere after Bun. */
function folderOf(path: string, name: string, version: string): string {
  const isIt = (file: string) => existsSync(join(TOP, file)) && JSON.parse(read(file)).version === version;
  const usual = `${path}/package.json`;
  const file = isIt(usual)
    ? usual
    : [...new Glob(`node_modules/**/${name}/package.json`).scanSync(TOP)].find(isIt);
  if (file === undefined) throw new Error(`${name} ${version} is not installed`);
  return dirname(file);
}

function notices(): readonly Notice[] {
  const packages: Readonly<Record<string, LockedPackage>> = lock.packages;
  return Object.entries(packages)
    .filter(([path, { dev }]) => path !== "" && dev !== true && !path.includes("@types/"))
    .map(([path, { version = "", license = "" }]) => {
      const name = path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
      const folder = folderOf(path, name, version);
      const files = readdirSync(join(TOP, folder)).filter(
        (file) => LICENSE_FILE.test(file) && !NOT_CHOSEN.test(file),
      );
      const own = WITHIN[name];
      return {
        title: `${name} ${version}`,
        license: own?.license ?? license,
        texts: [...files.toSorted().map((file) => read(join(folder, file))), ...(own?.texts ?? []).map(read)],
      };
    })
    .toSorted((a, b) => (a.title < b.title ? -1 : 1));
}

/** Each text once, with the packages it is of; line ends and indents differ where the words do not. */
function texts(all: readonly Notice[]): readonly string[] {
  const found = new Map<string, { readonly text: string; readonly titles: Set<string> }>();
  for (const { title, texts: own } of all) {
    for (const [index, text] of own.entries()) {
      const words = text.replaceAll(/\s+/g, " ").trim();
      const known = found.get(words) ?? { text, titles: new Set() };
      known.titles.add(index === 0 ? title : `${title}, part ${index + 1}`);
      found.set(words, known);
    }
  }
  return [...found.values()].flatMap(({ text, titles }) => [
    `### ${[...titles].join(", ")}`,
    "",
    "````text",
    text
      .replaceAll(/\r\n?/g, "\n")
      .replaceAll("\t", "  ")
      .replaceAll(/[ \f]+$/gm, "")
      .trim(),
    "````",
    "",
  ]);
}

export function thirdPartyNotices(): string {
  const all = notices();
  const unique = [...new Map(all.map((notice) => [notice.title, notice])).values()];
  return [
    "# Third-party notices",
    "",
    "<!-- Made from package-lock.json and the installed packages by scripts/docs.ts: change it there. -->",
    "",
    "What is compiled into the binary, with the licence of each. The sensor itself is under the",
    "[Apache License 2.0](LICENSE).",
    "",
    "## 7-Zip",
    "",
    "7-Zip, with its unpacker of rar, is in the binary as WebAssembly, in the unchanged file `7zz.wasm` of the package",
    "`7z-wasm`. It is under the GNU Lesser General Public License 2.1 or later, and its unpacker of rar under the unRAR",
    "restriction as well: **that code may not be used to develop an archiver that is compatible with RAR (WinRAR).** Its",
    "source is at <https://github.com/use-strict/7z-wasm> and <https://www.7-zip.org>. To use another build of it, put it in",
    "the place of `node_modules/7z-wasm/7zz.wasm` and build the sensor anew (`npm run build`).",
    "",
    "## Bun",
    "",
    "The binary is made by Bun and contains it. Bun is under the MIT License. It contains JavaScriptCore of WebKit, under",
    "the GNU Lesser General Public License 2.0 or later, and other libraries, which",
    "<https://bun.com/docs/project/license> lists with their licences. Its source, that of the JavaScriptCore in it",
    "(<https://github.com/oven-sh/WebKit>), and how both are linked anew, are at <https://github.com/oven-sh/bun>; to build",
    "the sensor with a Bun of your own, run `scripts/build.sh` with it.",
    "",
    "````text",
    read("scripts/docs/lgpl-2.0.txt").replaceAll("\f", "").trim(),
    "````",
    "",
    "## Packages",
    "",
    table(
      ["Package", "Licence"],
      unique.map(({ title, license }) => [title, license]),
    ),
    "",
    "## Licences of the packages",
    "",
    ...texts(all),
  ]
    .join("\n")
    .trimEnd()
    .concat("\n");
}
