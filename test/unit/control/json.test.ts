/** Events over the API and back to JSON. */
import { expect, test } from "bun:test";
import { Event } from "../../../gen/emailsensor/v1/sensor.ts";
import { eventJson } from "../../../src/control/json.ts";
import { eventMessage } from "../../../src/control/messages.ts";
import { sampleEvents } from "../../../src/report/samples.ts";

test.each(sampleEvents().map(({ name, event }) => [name, event] as const))(
  "a %s event comes over the API as it is: evidence, cost, rule and all",
  (_, event) => {
    const sent = Event.encode(eventMessage(4, event)).finish();
    expect(eventJson(Event.decode(sent))).toMatchObject({ seq: 4, ...event });
  },
);
