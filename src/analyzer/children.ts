/**
 * What VMRay found in a content and analysed by itself: members of an archive, attachments and links of a mail.
 *
 * Takes the finished submissions of one content, gives them with their children, and those of the children, as far as
 * the bounds go. Throws the VmrayError of a call.
 */
import type { Submission } from "./api-shapes.ts";
import type { VmrayClient } from "./client.ts";
import { type FinishedPart, mayHaveChildren } from "./verdict-of.ts";

/** Calls for one look at a content, and how deep children of children are followed. */
const MAX_CALLS = 10;
const MAX_DEPTH = 3;
/** Children of one content that are looked at. */
const MAX_CHILDREN = 100;

/** The parts with their children, the direct ones first. One call for each list. */
export async function withChildren(
  client: Pick<VmrayClient, "submissionChildren">,
  parts: readonly FinishedPart[],
  signal: AbortSignal,
): Promise<readonly FinishedPart[]> {
  const found = parts.map((): Submission[] => []);
  let level = parts.flatMap((part, index) => {
    const id = part.submission?.submission_id;
    return id === undefined || !mayHaveChildren(part) ? [] : [{ id, index }];
  });
  const seen = new Set(parts.flatMap(({ submission }) => submission?.submission_id ?? []));
  let calls = 0;
  for (let depth = 0; depth < MAX_DEPTH && level.length > 0; depth++) {
    const next: typeof level = [];
    for (const { id, index } of level) {
      if (calls >= MAX_CALLS) break;
      calls += 1;
      for (const child of await client.submissionChildren(id, signal)) {
        if (seen.has(child.submission_id) || seen.size >= MAX_CHILDREN) continue;
        seen.add(child.submission_id);
        found[index]?.push(child);
        next.push({ id: child.submission_id, index });
      }
    }
    level = next;
  }
  return parts.map((part, index) => ({ ...part, children: found[index] ?? [] }));
}
