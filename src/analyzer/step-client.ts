/**
 * The client as one step of an analysis uses it: it counts the calls, ends the step where all calls pause meanwhile, and
 * has the answers that the step got before a fault ended it, so that one of hundreds of calls goes on where it was.
 */
import type { Sample, Submission } from "./api-shapes.ts";
import type { VmrayClient } from "./client.ts";
import { counted } from "./cost.ts";

/** What VMRay said of finished submissions, by id. */
export type Answers = {
  readonly submissions: Map<number, Submission | null>;
  readonly samples: Map<number, Sample | null>;
  readonly children: Map<number, readonly Submission[]>;
};

/** The step is taken up again when calls are made again. */
export class Paused extends Error {}

export function noAnswers(): Answers {
  return { submissions: new Map(), samples: new Map(), children: new Map() };
}

/** How many there are. */
export function sizeOf({ submissions, samples, children }: Answers): number {
  return submissions.size + samples.size + children.size;
}

/** `onCall` is told before each call. */
export function stepClient(client: VmrayClient, answers: Answers, onCall: () => void): VmrayClient {
  const calls = counted(client, onCall);
  const once = async <T>(
    known: Map<number, T>,
    id: number,
    ask: () => Promise<T>,
    lasts: (answer: T) => boolean,
  ) => {
    const before = known.get(id);
    if (before !== undefined) return before;
    const answer = await ask();
    if (lasts(answer)) known.set(id, answer);
    return answer;
  };
  return {
    ...calls,
    submission: (id, signal) =>
      once(
        answers.submissions,
        id,
        () => calls.submission(id, signal),
        (answer) => answer === null || answer.submission_finished === true,
      ),
    sample: (id, signal) =>
      once(
        answers.samples,
        id,
        () => calls.sample(id, signal),
        () => true,
      ),
    submissionChildren: (id, signal) =>
      once(
        answers.children,
        id,
        () => calls.submissionChildren(id, signal),
        () => true,
      ),
  };
}
