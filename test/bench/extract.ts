/**
 * What taking mails apart costs: takeApart beside plain mailparser, on the same mails, in one process.
 *
 * simpleParser is mailparser as most programs use it; MailParser is its streaming parser with all extras switched
 * off and every attachment thrown away, the least it can cost. Neither looks for links, codes or hidden content, nor
 * into any attachment. "readings" are the strict, the lenient and the sweeping reading of the mail together, which
 * is what of takeApart compares with them. Figures are of CPU time, of all threads: other work on the machine does
 * not count, and a thread that collects garbage beside does. The parsers take turns; a figure is the median of the
 * rounds, a ratio the median of the rounds' ratios.
 *
 * use: extract.ts [--rounds N] [--mails FOLDER] [--only ordinary,large,shares]
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { MailParser, simpleParser } from "mailparser";
import { schema } from "../../src/config/schema.ts";
import { boundsOf } from "../../src/extract/bounds.ts";
import { codesInHtml } from "../../src/extract/codes/html.ts";
import { codesInText } from "../../src/extract/codes/text.ts";
import { sampleOf } from "../../src/extract/content-sample.ts";
import { decodeText } from "../../src/extract/decode-text.ts";
import { detectType } from "../../src/extract/file-type.ts";
import { frame, readAnswer } from "../../src/extract/helper-protocol.ts";
import { isImage, isMailType, lookInside } from "../../src/extract/inside.ts";
import { readStrictly } from "../../src/extract/readings/cut-parts.ts";
import { looksDangerous } from "../../src/extract/readings/dangerous.ts";
import { rangesRead, readLenient } from "../../src/extract/readings/lenient.ts";
import type { StrictPart } from "../../src/extract/readings/strict.ts";
import { sweepRaw } from "../../src/extract/readings/sweep.ts";
import { takeApart } from "../../src/extract/take-apart.ts";
import { createUrlCollector } from "../../src/extract/urls/collector.ts";
import { largeMails, type MailSet, ordinaryMails } from "./mails.ts";

const MB = 1_000_000;
const BOUNDS = boundsOf(schema.shape.extract.parse({}));
const LIMITS = {
  bytes: BOUNDS.max_unpacked_size,
  inner: BOUNDS.max_archive_members,
  urls: BOUNDS.max_urls,
  ratio: BOUNDS.max_archive_ratio,
  seconds: 20,
  depth: BOUNDS.max_depth,
  parts: BOUNDS.max_parts,
};
const STRICT_LIMITS = {
  bytes: BOUNDS.max_decoded_size,
  parts: BOUNDS.max_parts,
  headerSize: BOUNDS.max_header_size,
  headerLines: BOUNDS.max_header_lines,
};
/** Mails of each kind that are generated, and CPU seconds that are spent on them before anything is measured. */
const MAILS = 40;
const WARM_UP_SECONDS = 1;
/** CPU seconds of one measurement at least. */
const ROUND_SECONDS = 0.25;

type Work = (mail: Buffer) => Promise<unknown> | unknown;

async function readings(mail: Buffer): Promise<void> {
  const lenient = readLenient(mail, LIMITS);
  await readStrictly(mail, lenient.parts, STRICT_LIMITS);
  sweepRaw(mail, LIMITS, { worth: looksDangerous, skip: rangesRead(lenient), heads: lenient.heads });
}

function bareParser(mail: Buffer): Promise<void> {
  const parser = new MailParser({
    checksumAlgo: false,
    ignoreEmbedded: true,
    skipHtmlToText: true,
    skipImageLinks: true,
    skipTextLinks: true,
    skipTextToHtml: true,
  });
  return new Promise((resolve, reject) => {
    parser.on("data", (part) => {
      if (part.type !== "attachment") return;
      part.content.on("end", () => part.release?.());
      part.content.resume();
    });
    parser.on("error", reject);
    parser.on("end", resolve);
    parser.end(mail);
  });
}

const PEERS = {
  takeApart: (mail) => takeApart(mail, BOUNDS),
  readings,
  simpleParser: (mail) => simpleParser(mail),
  MailParser: bareParser,
} satisfies Record<string, Work>;
type Peer = keyof typeof PEERS;
const PEER_NAMES = ["takeApart", "readings", "simpleParser", "MailParser"] as const satisfies readonly Peer[];

/** CPU seconds of one mail; the mails are read again until `least` CPU seconds are spent. */
async function cost(work: Work, mails: readonly Buffer[], least = ROUND_SECONDS): Promise<number> {
  const begun = process.cpuUsage();
  for (let times = 1; ; times++) {
    for (const mail of mails) await work(mail);
    const { user, system } = process.cpuUsage(begun);
    const seconds = (user + system) / 1e6;
    if (seconds >= least) return seconds / (times * mails.length);
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

const write = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

async function compare(title: string, sets: readonly MailSet[], rounds: number): Promise<void> {
  write(`\n${title}: mails a second and MB a second of CPU time, median of ${rounds} rounds`);
  write(
    `${"".padEnd(31)}${PEER_NAMES.map((name) => name.padStart(17)).join("")}` +
      `${"takeApart/simple".padStart(18)}${"readings/simple".padStart(17)}${"readings/Mail".padStart(15)}`,
  );
  for (const { name, mails } of sets) {
    for (const peer of PEER_NAMES) await cost(PEERS[peer], mails, WARM_UP_SECONDS);
    const costs: Record<Peer, number[]> = { takeApart: [], readings: [], simpleParser: [], MailParser: [] };
    for (let round = 0; round < rounds; round++) {
      for (const peer of PEER_NAMES) costs[peer].push(await cost(PEERS[peer], mails));
    }
    const size = mails.reduce((sum, { length }) => sum + length, 0) / mails.length;
    const rate = (peer: Peer): string => {
      const seconds = median(costs[peer]);
      const digits = seconds > 0.1 ? 1 : 0;
      return `${(1 / seconds).toFixed(digits)} /${(size / seconds / MB).toFixed(1).padStart(7)}`.padStart(17);
    };
    const ratio = (one: Peer, other: Peer): string =>
      `${median(costs[one].map((value, round) => value / (costs[other][round] ?? Number.NaN))).toFixed(2)} x`;
    write(
      `${name.padEnd(31)}${PEER_NAMES.map(rate).join("")}` +
        `${ratio("takeApart", "simpleParser").padStart(18)}${ratio("readings", "simpleParser").padStart(17)}` +
        `${ratio("readings", "MailParser").padStart(15)}`,
    );
  }
}

type Prepared = {
  readonly mail: Buffer;
  readonly lenient: ReturnType<typeof readLenient>;
  readonly bodies: readonly {
    readonly kind: "text" | "html";
    readonly text: string;
    readonly part: StrictPart;
  }[];
  readonly files: readonly {
    readonly bytes: Uint8Array;
    readonly type: string;
    readonly name: string | null;
  }[];
  readonly answer: Uint8Array;
};

/** What the stages of takeApart get of a mail. */
async function prepared(mail: Buffer): Promise<Prepared> {
  const lenient = readLenient(mail, LIMITS);
  const { parts } = await readStrictly(mail, lenient.parts, STRICT_LIMITS);
  const isBody = ({ declared, name }: StrictPart) => name === null && /^text\/(?:plain|html)$/.test(declared);
  const bodies = parts.filter(isBody).map((part) => ({
    kind: part.declared === "text/html" ? ("html" as const) : ("text" as const),
    text: decodeText(part.bytes, part.charset),
    part,
  }));
  const files = [];
  for (const { bytes, name } of parts.filter((part) => !isBody(part))) {
    files.push({ bytes, name, type: await detectType(sampleOf(bytes), name) });
  }
  const extraction = await takeApart(mail, BOUNDS);
  return { mail, lenient, bodies, files, answer: frame({ kind: "extracted", extraction }).subarray(4) };
}

const noPasswords = (): readonly string[] => [];

const STAGES: readonly (readonly [string, (mail: Prepared) => Promise<void> | void])[] = [
  ["strict", async ({ mail, lenient }) => void (await readStrictly(mail, lenient.parts, STRICT_LIMITS))],
  ["lenient", ({ mail }) => void readLenient(mail, LIMITS)],
  [
    "sweep",
    ({ mail, lenient }) => {
      sweepRaw(mail, LIMITS, { worth: looksDangerous, skip: rangesRead(lenient), heads: lenient.heads });
    },
  ],
  [
    "URLs",
    ({ bodies }) => {
      const urls = createUrlCollector({ max: BOUNDS.max_urls, recipients: [], onFlag: () => {} });
      for (const { kind, part } of bodies) {
        const text = decodeText(part.bytes, part.charset);
        if (kind === "html") urls.addHtml(text, "html");
        else urls.addText(text, "text");
      }
      urls.found();
    },
  ],
  [
    "drawn codes",
    async ({ bodies }) => {
      for (const { kind, text } of bodies) {
        await (kind === "html" ? codesInHtml : codesInText)(text, { codes: 20 });
      }
    },
  ],
  [
    "images",
    async ({ files }) => {
      for (const one of files) if (isImage(one.type)) await lookInside(one, LIMITS, noPasswords);
    },
  ],
  [
    "files",
    async ({ files }) => {
      for (const one of files) {
        if (!isImage(one.type) && !isMailType(one.type)) await lookInside(one, LIMITS, noPasswords);
      }
    },
  ],
  [
    "types",
    async ({ files }) => {
      for (const { bytes, name } of files) await detectType(sampleOf(bytes), name);
    },
  ],
  [
    "hashes",
    ({ files }) => {
      for (const { bytes } of files) {
        for (const name of ["sha256", "sha1", "md5"] as const) Bun.CryptoHasher.hash(name, bytes);
      }
    },
  ],
  [
    "answer",
    ({ answer }) => {
      readAnswer(answer);
    },
  ],
];

async function shares(sets: readonly MailSet[], rounds: number): Promise<void> {
  write(`\nStages alone: CPU time in microseconds a mail, median of ${rounds} rounds`);
  write('"answer" is what the main process does with the answer of a helper; it is not part of takeApart.');
  write(`${"".padEnd(31)}${"takeApart".padStart(11)}${STAGES.map(([name]) => name.padStart(12)).join("")}`);
  for (const { name, mails } of sets) {
    await cost(PEERS.takeApart, mails, WARM_UP_SECONDS);
    const ready = new Map<Buffer, Prepared>();
    for (const mail of mails) ready.set(mail, await prepared(mail));
    const works: Work[] = [
      PEERS.takeApart,
      ...STAGES.map(
        ([, stage]): Work =>
          (mail) => {
            const one = ready.get(mail);
            return one === undefined ? undefined : stage(one);
          },
      ),
    ];
    const costs = works.map((): number[] => []);
    for (let round = 0; round < rounds; round++) {
      for (const [index, work] of works.entries()) costs[index]?.push(await cost(work, mails));
    }
    const figures = costs.map((values, index) =>
      (1e6 * median(values)).toFixed(0).padStart(index === 0 ? 11 : 12),
    );
    write(`${name.padEnd(31)}${figures.join("")}`);
  }
}

/** The mails of a folder and of those in it. */
function mailsIn(folder: string): MailSet {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".eml"),
  );
  return {
    name: `${names.length} mails of the folder`,
    mails: names.map((name) => readFileSync(join(folder, name))),
  };
}

const GROUPS = ["ordinary", "large", "shares"] as const;
const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    mails: { type: "string" },
    only: { type: "string", default: GROUPS.join(",") },
  },
});
const rounds = Number(options.rounds);
const only = GROUPS.filter((name) => options.only.split(",").includes(name));
if (!(Number.isInteger(rounds) && rounds >= 1 && rounds <= 50) || only.length === 0) {
  process.stderr.write(
    "use: extract.ts [--rounds 1 to 50] [--mails FOLDER] [--only ordinary,large,shares]\n",
  );
  process.exit(2);
}
const given = options.mails === undefined ? [] : [mailsIn(options.mails)];
const kinds = ordinaryMails(MAILS);
const mixed = { name: "all of these", mails: kinds.flatMap(({ mails }) => mails) };
const ordinary = [...kinds, mixed, ...given];
if (only.includes("ordinary")) await compare("Ordinary mails", ordinary, rounds);
if (only.includes("large")) await compare("Large attachments", largeMails(), Math.min(rounds, 3));
if (only.includes("shares")) await shares(ordinary, rounds);
