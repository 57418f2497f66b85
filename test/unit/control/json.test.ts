/** Events over the API and back to JSON. */
import { expect, test } from "bun:test";
import { Event, Mail } from "../../../gen/emailsensor/v1/sensor.ts";
import { renderMail } from "../../../src/commands/mail.ts";
import { screenOf } from "../../../src/commands/screen.ts";
import { eventJson, mailDetailJson } from "../../../src/control/json.ts";
import { eventMessage, mailMessage } from "../../../src/control/messages.ts";
import { sampleEvents } from "../../../src/report/samples.ts";
import type { ContentVerdict } from "../../../src/verdict/verdict.ts";
import { mailRow } from "../report/fixtures.ts";
import { attachment, judged } from "../spool/fixtures.ts";

test.each(sampleEvents().map(({ name, event }) => [name, event] as const))(
  "a %s event comes over the API as it is: evidence, cost, rule and all",
  (_, event) => {
    const sent = Event.encode(eventMessage(4, event)).finish();
    expect(eventJson(Event.decode(sent))).toMatchObject({ seq: 4, ...event });
  },
);

test("bug: which part of a mail was analysed less than wanted stood in its reason alone", () => {
  const why = "VMRay analysed it less deeply than the policy wants";
  const partial: ContentVerdict = { ...judged("clean"), reason: why, partial: true };
  const artifacts = [
    { ...attachment("less"), verdict: partial },
    { ...attachment("whole"), verdict: judged("clean") },
  ];
  const sent = Mail.encode(mailMessage(mailRow(artifacts, { complete: false }))).finish();
  const mail = Mail.decode(sent);
  const [less, whole] = mailDetailJson(mail).attachments;
  expect(less).toMatchObject({ verdict: "clean", partial: true });
  expect(whole).not.toHaveProperty("partial");
  const shown = renderMail(mail, screenOf({ isTTY: false }, {})).join("\n");
  expect(shown).toContain(`clean (less was analysed than wanted): ${why}`);
  expect(shown.match(/less was analysed/g)).toHaveLength(1);
});

test("bug: of a part that was analysed less than wanted the event over the API said nothing", () => {
  const sample = sampleEvents().find(({ event }) => (event.attachments ?? []).length > 0);
  const [first] = sample?.event.attachments ?? [];
  if (sample === undefined || first === undefined) throw new Error("no sample has an attachment");
  const event = { ...sample.event, attachments: [{ ...first, partial: true as const }] };
  const sent = Event.encode(eventMessage(4, event)).finish();
  expect(eventJson(Event.decode(sent))).toMatchObject({ attachments: [{ partial: true }] });
});
