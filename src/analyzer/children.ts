/**
 * What VMRay found in a content and analysed by itself: members of an archive, attachments and links of a mail.
 *
 * Takes the finished submissions of one content, gives them with their children, those of the children and so on, and
 * whether the bounds left some out. Throws the VmrayError of a call.
 */
import type { Submission } from "./api-shapes.ts";
import type { VmrayClient } from "./client.ts";
import { type FinishedPart, mayHaveChildren } from "./verdict-of.ts";

/** Lists asked for in one look at a content, and submissions of one content that are looked at. */
const MAX_LISTS = 1000;
const MAX_SUBMISSIONS = 2000;

export type WithChildren = {
  readonly parts: readonly FinishedPart[];
  /** True where there may be more than was looked at. */
  readonly cut: boolean;
};

/** The parts with their children, the direct ones first. */
export async function withChildren(
  client: Pick<VmrayClient, "submissionChildren">,
  parts: readonly FinishedPart[],
  signal: AbortSignal,
): Promise<WithChildren> {
  const found = parts.map((): Submission[] => []);
  let level = parts.flatMap((part, index) => {
    const id = part.submission?.submission_id;
    return id === undefined || !mayHaveChildren(part) ? [] : [{ id, index }];
  });
  const seen = new Set(parts.flatMap(({ submission }) => submission?.submission_id ?? []));
  let lists = 0;
  let cut = false;
  while (level.length > 0 && !cut) {
    const next: typeof level = [];
    for (const { id, index } of level) {
      if (lists >= MAX_LISTS) {
        cut = true;
        break;
      }
      lists += 1;
      for (const child of await client.submissionChildren(id, signal)) {
        if (seen.has(child.submission_id)) continue;
        if (seen.size >= MAX_SUBMISSIONS) {
          cut = true;
          break;
        }
        seen.add(child.submission_id);
        found[index]?.push(child);
        next.push({ id: child.submission_id, index });
      }
    }
    level = next;
  }
  return { parts: parts.map((part, index) => ({ ...part, children: found[index] ?? [] })), cut };
}
