/**
 * What the simulator decides about a content, and why. docs/simulator.md describes the same rules for people.
 *
 * A file is judged by its bytes and, where it is an archive, by its members (nested zips too, bounded); a URL by
 * the labels of its host name, and only under the names of RFC 2606, so that a real host is never accused. Pure
 * functions that never throw.
 */
import { createGauge } from "../../extract/archives/gauge.ts";
import { unpackWithSevenZip } from "../../extract/archives/seven-zip.ts";
import type { ContentRule } from "./scenario.ts";
import type { SubmittedContent } from "./submit-form.ts";
import { type ZipBudget, zipMembers } from "./zip.ts";

/** `error`: the analysis fails, the submission ends with errors and no verdict. The rest are VMRay's verdicts. */
export type Outcome = "malicious" | "suspicious" | "error" | "not_available" | "clean";

export type Judgement = {
  readonly outcome: Outcome;
  readonly threatNames: readonly string[];
  /** One sentence for people, without any text of the content. */
  readonly why: string;
  readonly passwordProtected: boolean;
  /** It is protected, and the password that came with it opened every member it was tried on. */
  readonly opened: boolean;
  /** What a scenario tells beside the verdict; where it tells nothing, the simulator makes its own. */
  readonly classifications?: readonly string[] | undefined;
  readonly vtis?: ContentRule["vtis"];
  readonly mitre?: ContentRule["mitre"];
  readonly iocs?: ContentRule["iocs"];
  /** verdict_reason_description, also beside a verdict. */
  readonly reason?: string | undefined;
  /** The submission has errors although there is a verdict. */
  readonly hasErrors?: boolean;
};

/** The harmless test file of eicar.org, in two parts so that no scanner takes this program for it. */
export const EICAR = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*"].join("");
export const EICAR_THREAT_NAME = "EICAR-Test-File";
export const MARKER_PREFIX = "VMRAY-SIMULATOR: ";

/** Worst first: the first one found in a content decides. */
export const OUTCOMES = [
  "malicious",
  "suspicious",
  "error",
  "not_available",
  "clean",
] as const satisfies readonly Outcome[];
const HOST_LABELS: Readonly<Record<string, Outcome>> = {
  malicious: "malicious",
  suspicious: "suspicious",
  error: "error",
  unknown: "not_available",
};
const RESERVED_HOST = /(?:^|\.)(?:test|example|invalid|localhost|example\.(?:com|net|org))$/;

const MAX_ZIP_DEPTH = 3;
const ZIP_BUDGET: Readonly<ZipBudget> = { members: 1000, bytes: 64 * 1024 ** 2 };
const MARKER_THREAT_NAME = "Simulator-Marker";

type Finding = { readonly outcome: Outcome; readonly rule: "eicar" | "marker"; readonly inside: boolean };

function findingIn(bytes: Uint8Array, inside: boolean): Finding | undefined {
  const content = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (content.includes(EICAR)) return { outcome: "malicious", rule: "eicar", inside };
  if (!content.includes(MARKER_PREFIX)) return undefined;
  const outcome = OUTCOMES.find((name) => content.includes(MARKER_PREFIX + name));
  return outcome === undefined ? undefined : { outcome, rule: "marker", inside };
}

type Search = {
  readonly findings: Finding[];
  readonly password: string | undefined;
  /** Members that are encrypted and stayed so, and those that the password opened. */
  locked: number;
  opened: number;
  readonly budget: ZipBudget;
};

const newSearch = (password: string | undefined): Search => ({
  findings: [],
  password,
  locked: 0,
  opened: 0,
  budget: { ...ZIP_BUDGET },
});

function search(bytes: Uint8Array, depth: number, found: Search): void {
  const finding = findingIn(bytes, depth > 0);
  if (finding !== undefined) found.findings.push(finding);
  if (depth === MAX_ZIP_DEPTH) return;
  for (const member of zipMembers(bytes, found.budget, found.password)) {
    if (member.state === "encrypted") found.locked++;
    if (member.state !== "read") continue;
    if (member.sealed) found.opened++;
    search(member.bytes, depth + 1, found);
  }
}

/**
 * Judges the bytes of a file. Reads at most 1000 members and 64 MiB out of zips, three levels deep; encrypted
 * members only where `password` is the right one.
 */
export function judgeFile(bytes: Uint8Array, password?: string): Judgement {
  const found = newSearch(password);
  search(bytes, 0, found);
  return conclude(found, "zip");
}

/** What 7-Zip calls the archives that it unpacks here, by how they begin. */
const SEVEN_ZIP_TYPES = [
  { magic: Buffer.from("7z\xbc\xaf\x27\x1c", "latin1"), name: "7z archive", types: ["7z"] },
  { magic: Buffer.from("Rar!\x1a\x07", "latin1"), name: "RAR archive", types: ["Rar5", "Rar"] },
] as const;
const SEVEN_ZIP_SECONDS = 20;

/** Judges a file or a URL; a 7z or RAR archive by its members too, one level deep, in at most 20 seconds. */
export async function judge(content: SubmittedContent, password: string | undefined): Promise<Judgement> {
  if (content.kind === "url") return judgeUrl(content.url);
  const { bytes } = content;
  const archive = SEVEN_ZIP_TYPES.find(({ magic }) => magic.equals(bytes.subarray(0, magic.length)));
  if (archive === undefined) return judgeFile(bytes, password);
  const found = newSearch(password);
  search(bytes, 0, found);
  const limits = {
    inner: ZIP_BUDGET.members,
    bytes: ZIP_BUDGET.bytes,
    urls: 0,
    ratio: 1000,
    seconds: SEVEN_ZIP_SECONDS,
  };
  const gauge = createGauge(bytes.length, limits, password === undefined ? [] : [password]);
  await unpackWithSevenZip(bytes, archive.types, gauge);
  const { encrypted, inner } = gauge.done();
  if (encrypted === "opened") found.opened++;
  if (encrypted === "closed") found.locked++;
  for (const member of inner) search(member.bytes, 1, found);
  return conclude(found, archive.name);
}

function conclude(found: Search, container: string): Judgement {
  const { password } = found;
  const protection = {
    passwordProtected: found.locked + found.opened > 0,
    opened: found.opened > 0 && found.locked === 0,
  };
  const worst = found.findings.toSorted(
    (a, b) => OUTCOMES.indexOf(a.outcome) - OUTCOMES.indexOf(b.outcome),
  )[0];
  if (worst === undefined) {
    return found.locked > 0
      ? {
          outcome: "not_available",
          threatNames: [],
          why:
            password === undefined
              ? `The file is a ${container} with encrypted members, and no password came with it.`
              : `The file is a ${container} with encrypted members that the password does not open.`,
          ...protection,
        }
      : {
          outcome: "clean",
          threatNames: [],
          why: "The file holds neither the EICAR test file nor a marker of the simulator.",
          ...protection,
        };
  }
  const where = worst.inside ? `A member of the ${container}` : "The file";
  if (worst.rule === "eicar") {
    return {
      outcome: "malicious",
      threatNames: [EICAR_THREAT_NAME],
      why: `${where} contains the EICAR test file.`,
      ...protection,
    };
  }
  return {
    outcome: worst.outcome,
    threatNames: worst.outcome === "malicious" ? [MARKER_THREAT_NAME] : [],
    why: `${where} contains the marker "${MARKER_PREFIX}${worst.outcome}".`,
    ...protection,
  };
}

/** Judges a URL that `new URL` could read. */
export function judgeUrl(url: URL): Judgement {
  const host = url.hostname.toLowerCase().replace(/\.$/, "");
  const labels = RESERVED_HOST.test(host) ? host.split(".") : [];
  const outcome = OUTCOMES.find((name) => labels.some((label) => HOST_LABELS[label] === name));
  if (outcome === undefined) {
    return {
      outcome: "clean",
      threatNames: [],
      why: "The host name is none that the simulator has a rule for.",
      passwordProtected: false,
      opened: false,
    };
  }
  const label = Object.keys(HOST_LABELS).find((name) => HOST_LABELS[name] === outcome);
  return {
    outcome,
    threatNames: outcome === "malicious" ? [MARKER_THREAT_NAME] : [],
    why: `The host name has the label "${label}" under a name reserved by RFC 2606.`,
    passwordProtected: false,
    opened: false,
  };
}
