import { afterEach, expect, test } from "bun:test";
import { createTemplateThread, type TemplateThread } from "../../../src/alert/template-thread.ts";
import { file, mailRow, verdictEvent } from "../report/fixtures.ts";
import { facts, malicious } from "./fixtures.ts";

const some = facts(verdictEvent(mailRow([file("invoice.zip", malicious)])));
const closing: TemplateThread[] = [];
afterEach(() => {
  for (const thread of closing.splice(0)) thread.stop();
});

function thread(deadline?: number): TemplateThread {
  const made = createTemplateThread(deadline);
  closing.push(made);
  return made;
}

const text = (template: string) => ({ kind: "text", text: template }) as const;
const SLOW = text("{% for a in (1..99999) %}{% for b in (1..99999) %}{% endfor %}{% endfor %}");

test("templates are rendered in their order, escaped as anywhere, and fail with the same words", async () => {
  const { render } = thread();
  const made = await Promise.allSettled([
    render({ kind: "html", text: "<b>{{ '<i>' | append: attachments[0].filename }}</b>" }, some),
    render(SLOW, some),
    render(text("{{ verdict }}"), some),
  ]);
  expect(made).toMatchObject([
    { value: "<b>&lt;i&gt;invoice[.]zip</b>" },
    { reason: { code: "TEMPLATE_FAILED", message: expect.stringContaining("more than 250 ms of CPU time") } },
    { value: "malicious" },
  ]);
});

test("a slow template leaves the event loop alone: it used to hold it for a quarter of a second", async () => {
  const { render } = thread();
  await render(text("started"), some);
  let turns = 0;
  const ticking = setInterval(() => {
    turns += 1;
  }, 1);
  const [made] = await Promise.allSettled([render(SLOW, some)]);
  clearInterval(ticking);
  expect(made).toMatchObject({
    reason: { message: expect.stringContaining("more than 250 ms of CPU time") },
  });
  expect(turns).toBeGreaterThan(1);
});

test("a thread that gives no answer in time is ended, and no template waits for it", async () => {
  const { render } = thread(1);
  const made = await Promise.allSettled([render(SLOW, some), render(text("two"), some)]);
  const late = { code: "TEMPLATE_FAILED", message: "it takes longer than 1 ms: loop over less" };
  expect(made).toMatchObject([{ reason: late }, { reason: late }]);
});
