/**
 * The customer's templates, rendered in a thread of their own: one that is slow holds up no mail that comes in.
 *
 * A template and the facts of an alert in, its text out. Throws what `renderTemplate` throws, and TEMPLATE_FAILED where
 * the thread gives no answer in time or dies: the next template has a new one. It is started with the first template.
 */
import { SensorError } from "../errors.ts";
import { receivedError, type SentError } from "../spool/thread-protocol.ts";
import { workerEntry } from "../worker-entry.ts";
import type { AlertFacts } from "./facts.ts";
import type { RenderTemplate, TemplateSource } from "./template.ts";

export type ToTemplates = { readonly source: TemplateSource; readonly facts: AlertFacts };
export type FromTemplates = { readonly text: string } | { readonly fault: SentError };

export type TemplateThread = {
  readonly render: RenderTemplate;
  /** Ends the thread; what it renders then is never answered. */
  stop(): void;
};

/** With the start of the thread. The engine ends a template after 250 ms, but not within a filter. */
const DEADLINE_MS = 10_000;

export function createTemplateThread(deadline = DEADLINE_MS): TemplateThread {
  let thread: Worker | null = null;
  let last: Promise<unknown> = Promise.resolve();

  const ask = (question: ToTemplates): Promise<string> =>
    new Promise((resolve, reject) => {
      thread ??= new Worker(workerEntry("alert/template-worker"), { smol: true });
      const own = thread;
      const lose = (why: string) => {
        clearTimeout(timer);
        own.onmessage = own.onerror = null;
        own.removeEventListener("close", closed);
        own.terminate();
        if (thread === own) thread = null;
        reject(new SensorError("TEMPLATE_FAILED", why));
      };
      const closed = () => lose("its thread ended");
      const timer = setTimeout(() => lose(`it takes longer than ${deadline} ms: loop over less`), deadline);
      own.addEventListener("close", closed);
      own.onerror = ({ message }) => lose(`its thread died: ${message.split("\n")[0]}`);
      own.onmessage = ({ data }: MessageEvent<FromTemplates>) => {
        clearTimeout(timer);
        own.removeEventListener("close", closed);
        if ("text" in data) resolve(data.text);
        else reject(receivedError(data.fault));
      };
      own.postMessage(question);
    });

  return {
    render(source, facts) {
      const made = last.then(() => ask({ source, facts }));
      last = made.catch(() => undefined);
      return made;
    },
    stop() {
      thread?.terminate();
      thread = null;
    },
  };
}
