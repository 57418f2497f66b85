/** Contents of every kind that the analyzer simulator judges, numbered, and mails that carry some of them. */
import { strToU8, zipSync } from "fflate";
import { EICAR, MARKER_PREFIX } from "../../src/analyzer/simulator/judgement.ts";
import { VERDICT_ORDER, type Verdict } from "../../src/verdict/verdict.ts";
import { mime, type Part } from "../system/lib/mails.ts";
import type { TestMail } from "../system/lib/smtp.ts";

export type Content = {
  /** As the simulator counts it: the SHA-256 of a file, a URL. */
  readonly key: string;
  readonly verdict: Verdict;
  readonly part: Part;
};

export type ChaosMail = TestMail & {
  /** Places of its contents in the list. */
  readonly contents: readonly number[];
};

const ZIP_TIME = new Date(2020, 0, 1, 12);

function file(name: string, verdict: Verdict, body: string | Uint8Array): Content {
  const key = new Bun.CryptoHasher("sha256").update(body).digest("hex");
  return { key, verdict, part: { type: "application/octet-stream", name, body } };
}

function url(key: string, verdict: Verdict): Content {
  return { key, verdict, part: { type: "text/plain; charset=utf-8", body: `Look: ${key} thanks\r\n` } };
}

/** Analyses of `error` fail. */
const marked = (n: number, word: string): string => `// ${n} ${MARKER_PREFIX}${word}\n`;

const KINDS: readonly ((n: number) => Content)[] = [
  (n) => file(`pay-${n}.js`, "malicious", marked(n, "malicious")),
  (n) => url(`http://h${n}.malicious.example/p/${n}`, "malicious"),
  (n) => file(`ok-${n}.ps1`, "clean", `Write-Host ${n}\r\n`),
  (n) => url(`https://www.example.org/page/${n}`, "clean"),
  (n) =>
    file(`invoice-${n}.zip`, "malicious", zipSync({ [`i${n}.com`]: strToU8(EICAR) }, { mtime: ZIP_TIME })),
  (n) => file(`run-${n}.js`, "suspicious", marked(n, "suspicious")),
  (n) => url(`http://suspicious.test/${n}`, "suspicious"),
  (n) => file(`bad-${n}.js`, "not_available", marked(n, "error")),
  (n) => file(`empty-${n}.vbs`, "not_available", marked(n, "not_available")),
  (n) => file(`plain-${n}.js`, "clean", marked(n, "clean")),
];

export function contents(count: number): readonly Content[] {
  return Array.from({ length: count }, (_, n) => {
    const kind = KINDS[n % KINDS.length];
    if (kind === undefined) throw new Error("there is no kind of content");
    return kind(n);
  });
}

/** The first mails carry one content each, in order, so that each is there; the others one to three by chance. */
export function chaosMails(
  count: number,
  all: readonly Content[],
  random: () => number,
): readonly ChaosMail[] {
  return Array.from({ length: count }, (_, n) => {
    const some = () => Math.floor(random() * all.length);
    const carried = n < all.length ? [n] : [...new Set(Array.from({ length: 1 + (some() % 3) }, some))];
    const parts = carried.flatMap((at) => all[at]?.part ?? []);
    const key = `<chaos-${n}@example.com>`;
    return {
      key,
      from: "alice@example.com",
      to: ["bob@example.org"],
      content: mime("alice@example.com", key, `Mail ${n}`, parts),
      contents: carried,
    };
  });
}

export function worst(verdicts: readonly Verdict[]): Verdict {
  return verdicts.reduce<Verdict>(
    (a, b) => (VERDICT_ORDER.indexOf(b) > VERDICT_ORDER.indexOf(a) ? b : a),
    "clean",
  );
}
