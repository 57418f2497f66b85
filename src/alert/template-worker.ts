/** The thread of the templates: renders what it is given, one after the other, and answers each. See template-thread.ts. */
import { sentError } from "../spool/thread-protocol.ts";
import { renderTemplate } from "./template.ts";
import type { FromTemplates, ToTemplates } from "./template-thread.ts";

declare const self: Worker;

self.onmessage = ({ data: { source, facts } }: MessageEvent<ToTemplates>) => {
  const answer = (): FromTemplates => {
    try {
      return { text: renderTemplate(source, facts) };
    } catch (thrown) {
      return { fault: sentError(thrown) };
    }
  };
  self.postMessage(answer());
};
