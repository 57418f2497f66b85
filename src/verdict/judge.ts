/**
 * From the verdicts of its parts to the verdict of a mail.
 *
 * Pure. The mail is as bad as its worst part; parts that policy skipped do not count; a mail without a judged
 * part is clean, but that of a denied sender is malicious. A part without a verdict, because it still waits, its analysis
 * failed or VMRay has none, makes the mail `not_available` at least, and never complete. One that was analysed less deeply
 * than the policy wants has its verdict, and the mail is not complete either.
 */
import { isIncomplete } from "../extract/flags.ts";
import type { ArtifactRow, MailRow } from "../spool/spool.ts";
import { showText } from "../text.ts";
import type { SenderHit } from "../triage/plan.ts";
import { type ContentVerdict, VERDICT_ORDER, type Verdict } from "./verdict.ts";

export type Judgement = {
  readonly verdict: Verdict;
  /** False where a part could not be judged, or not as the policy wants, or the mail was not taken apart in full. */
  readonly complete: boolean;
  /** Sentences without a full stop, worst part first; none for a clean and complete mail. */
  readonly reasons: readonly string[];
};

export const MAX_REASONS = 20;
export const MAX_REASON_LENGTH = 512;
/** Names of parts in reasons are cut to this length. */
export const MAX_NAME = 120;
const MAX_THREATS = 3;

/** What stands for the verdict of a part that was never decided: it counts as failed. */
export const UNDECIDED: ContentVerdict = {
  outcome: "failed",
  verdict: "not_available",
  reason: "no verdict was recorded",
  threat_names: [],
  vmray: null,
};

/** A failed part is not_available whatever else its row says. */
export function partVerdict(content: ContentVerdict): Verdict {
  return content.outcome === "failed" ? "not_available" : content.verdict;
}

/**
 * `waiting` is why parts have no verdict yet, a clause without a full stop: they count as unknown, not as failed. Null
 * where nothing hinders them. Left out where every part should have one.
 */
export function judge(mail: Pick<MailRow, "artifacts" | "extraction">, waiting?: string | null): Judgement {
  const pending = waiting === undefined ? [] : mail.artifacts.filter(({ verdict }) => verdict === null);
  const counted = mail.artifacts
    .filter((artifact) => !pending.includes(artifact))
    .map((artifact) => ({ artifact, content: artifact.verdict ?? UNDECIDED }))
    .filter(({ content }) => content.outcome !== "skipped");
  const rank = (content: ContentVerdict) => VERDICT_ORDER.indexOf(partVerdict(content));
  const sender = mail.extraction?.sender_list;
  const opening = sender?.list === "deny" ? [senderReason(sender)] : [];
  const least = pending.length > 0 ? "not_available" : "clean";
  const verdict = counted.reduce<Verdict>(
    (worst, { content }) => (rank(content) > VERDICT_ORDER.indexOf(worst) ? partVerdict(content) : worst),
    opening.length > 0 ? "malicious" : least,
  );
  const takenApart = mail.extraction?.complete === true;
  const noted = counted
    .filter(({ content }) => partVerdict(content) !== "clean" || content.partial === true)
    .sort((a, b) => rank(b.content) - rank(a.content));
  const closing = [
    ...(pending.length > 0 ? [pendingReason(pending.length, waiting ?? null)] : []),
    ...(takenApart ? [] : [incompleteReason(mail)]),
  ];
  const room = MAX_REASONS - closing.length - opening.length;
  const shown = noted.length <= room ? noted : noted.slice(0, room - 1);
  const unsaid = noted.length - shown.length;
  const reasons = [
    ...opening,
    ...shown.map(({ artifact, content }) => reasonOf(artifact, content)),
    ...(unsaid > 0 ? [`and ${unsaid} more of its parts`] : []),
    ...closing,
  ];
  return {
    verdict,
    complete:
      takenApart &&
      pending.length === 0 &&
      counted.every(({ content }) => partVerdict(content) !== "not_available" && content.partial !== true),
    reasons: reasons.map((reason) => showText(reason, MAX_REASON_LENGTH)),
  };
}

function pendingReason(parts: number, why: string | null): string {
  const text = parts === 1 ? "1 part is still being analysed" : `${parts} parts are still being analysed`;
  return why === null ? text : `${text}: ${why}`;
}

function senderReason({ address, entry }: SenderHit): string {
  return `the sender "${showText(address, MAX_NAME)}" is on the deny list ${entry}`;
}

function reasonOf(artifact: ArtifactRow, content: ContentVerdict): string {
  const name = nameOf(artifact);
  const why = content.reason === null ? "" : `: ${showText(content.reason, MAX_REASON_LENGTH)}`;
  if (content.outcome === "failed") return `${name} could not be judged${why}`;
  if (content.verdict === "not_available") return `VMRay has no verdict for ${name}${why}`;
  const threats = content.threat_names.slice(0, MAX_THREATS).map((threat) => showText(threat, 60));
  return `${name} is ${content.verdict}${threats.length > 0 ? ` (${threats.join(", ")})` : why}`;
}

function nameOf(artifact: ArtifactRow): string {
  if (artifact.kind === "url") return `URL "${showText(artifact.url.url, MAX_NAME)}"`;
  const { filename, sha256 } = artifact.attachment;
  return filename === null
    ? `attachment without a name (SHA-256 ${sha256})`
    : `attachment "${showText(filename, MAX_NAME)}"`;
}

function incompleteReason(mail: Pick<MailRow, "extraction">): string {
  const flags = (mail.extraction?.flags ?? [])
    .filter(isIncomplete)
    .slice(0, 5)
    .map((flag) => showText(flag, 40));
  return `the mail was not taken apart in full${flags.length > 0 ? ` (${flags.join(", ")})` : ""}`;
}
