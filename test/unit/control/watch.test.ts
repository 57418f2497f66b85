import { afterEach, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { type ClientReadableStream, type ServiceError, status } from "@grpc/grpc-js";
import {
  EventType,
  Verdict,
  WatchEventsRequest,
  type WatchEventsResponse,
} from "../../../gen/emailsensor/v1/sensor.ts";
import { until } from "../../until.ts";
import { someEvent } from "../spool/fixtures.ts";
import { type Harness, harness, verdictEvent, watchRequest } from "./harness.ts";
import { rawCall } from "./raw-http2.ts";

let open: Harness | undefined;
afterEach(async () => {
  await open?.end();
  open = undefined;
});

type Watched = {
  readonly call: ClientReadableStream<WatchEventsResponse>;
  readonly seqs: number[];
  readonly started: Promise<void>;
  readonly ended: Promise<ServiceError | null>;
};

function watch(from: Harness, request: Partial<WatchEventsRequest> = {}, flowing = true): Watched {
  const call = from.client().watchEvents(watchRequest(request));
  const seqs: number[] = [];
  const started = new Promise<void>((resolve) => call.once("metadata", () => resolve()));
  const ended = new Promise<ServiceError | null>((resolve) => {
    call.once("error", resolve);
    call.once("end", () => resolve(null));
  });
  if (flowing) call.on("data", ({ event }: WatchEventsResponse) => seqs.push(Number(event?.seq)));
  return { call, seqs, started, ended };
}

describe("WatchEvents", () => {
  test("gives only events committed after it began, in order", async () => {
    open = await harness();
    await open.spool.putEvents([someEvent(), someEvent()]);
    const newest = await open.spool.lastSeq();
    const watched = watch(open);
    await watched.started;
    await open.spool.putEvents([someEvent()]);
    await open.spool.putEvents([someEvent(), someEvent()]);
    await until(() => watched.seqs.length === 3, "three events");
    expect(watched.seqs).toEqual([newest + 1, newest + 2, newest + 3]);
    watched.call.cancel();
    expect((await watched.ended)?.code).toBe(status.CANCELLED);
  });

  test("goes on after a seq without a gap and without a repetition", async () => {
    open = await harness();
    await open.spool.putEvents(Array.from({ length: 100 }, () => someEvent()));
    const watched = watch(open, { afterSeq: 40n });
    await until(() => watched.seqs.length === 60, "sixty events");
    await open.spool.putEvents([someEvent()]);
    await until(() => watched.seqs.length === 61, "the event that came later");
    expect(watched.seqs).toEqual(Array.from({ length: 61 }, (_, index) => 41 + index));
    watched.call.cancel();
    await watched.ended;
  });

  test("lets through the types and verdicts that were asked for, and events without a verdict", async () => {
    open = await harness();
    await open.spool.putEvents([
      verdictEvent("clean"),
      verdictEvent("malicious"),
      someEvent("mail.received"),
      someEvent("sensor.state"),
      verdictEvent("suspicious"),
      verdictEvent("not_available"),
    ]);
    const watched = watch(open, {
      afterSeq: 0n,
      types: [EventType.MAIL_VERDICT, EventType.SENSOR_STATE],
      minVerdict: Verdict.SUSPICIOUS,
    });
    await until(() => watched.seqs.length === 3, "three events");
    expect(watched.seqs).toEqual([2, 4, 5]);
    watched.call.cancel();
    await watched.ended;
  });

  test("tells who wants bad verdicts that one is bad no more, and of mails that failed", async () => {
    open = await harness();
    const changed = (from: "suspicious" | "malicious") =>
      ({
        ...verdictEvent("clean"),
        type: "verdict.changed",
        change: { id: "c", because: "late", from, to: "clean", previous_event_id: null, mails: 1 },
      }) as const;
    await open.spool.putEvents([
      changed("suspicious"),
      changed("malicious"),
      { ...verdictEvent("not_available"), type: "mail.failed" },
      verdictEvent("clean"),
      someEvent("sensor.state"),
    ]);
    const watched = watch(open, { afterSeq: 0n, minVerdict: Verdict.MALICIOUS });
    await until(() => watched.seqs.at(-1) === 5, "the last event");
    expect(watched.seqs).toEqual([2, 3, 5]);
    watched.call.cancel();
    await watched.ended;
  });

  test("refuses a seq that no event has yet", async () => {
    open = await harness();
    await open.spool.putEvents([someEvent()]);
    for (const afterSeq of [2n, 2n ** 63n - 1n]) {
      const error = await watch(open, { afterSeq }).ended;
      expect(error?.code).toBe(status.OUT_OF_RANGE);
      expect(error?.details).toContain("the newest event is 1");
    }
    expect((await watch(open, { afterSeq: -1n }).ended)?.code).toBe(status.INVALID_ARGUMENT);
  });

  test("pauses a watcher that does not read, without reading the spool ahead of it", async () => {
    let handedOut = 0;
    open = await harness({
      wrap: (spool) => ({
        ...spool,
        async eventsAfter(seq, limit) {
          const events = await spool.eventsAfter(seq, limit);
          handedOut += events.length;
          return events;
        },
      }),
    });
    const size = 20_000;
    for (let round = 0; round < 20; round += 1) {
      await open.spool.putEvents(Array.from({ length: 50 }, () => verdictEvent("clean", size)));
    }
    const request = WatchEventsRequest.encode(watchRequest({ afterSeq: 0n })).finish();
    const slow = rawCall(
      open.control.address.slice("unix:".length),
      "/emailsensor.v1.SensorService/WatchEvents",
      request,
    );
    try {
      await until(() => slow.received() === 65_535, "the first window full");
      await Bun.sleep(100);
      expect(slow.received()).toBe(65_535);
      expect(handedOut).toBeLessThanOrEqual(64);
      slow.grant(100_000_000);
      await until(() => slow.received() > 1000 * size, "all events");
      expect(handedOut).toBe(1000);
    } finally {
      slow.close();
    }
  });

  test("a cancelled watcher gives its place and its subscription back", async () => {
    let subscribed = 0;
    open = await harness({
      wrap: (spool) => ({
        ...spool,
        subscribe(topic, wake) {
          subscribed += 1;
          const unsubscribe = spool.subscribe(topic, wake);
          return () => {
            subscribed -= 1;
            unsubscribe();
          };
        },
      }),
    });
    for (let round = 0; round < 3; round += 1) {
      const from = open;
      const watchers = Array.from({ length: 64 }, () => watch(from));
      await Promise.all(watchers.map((watcher) => watcher.started));
      const refused = await watch(open).ended;
      expect(refused?.code).toBe(status.RESOURCE_EXHAUSTED);
      expect(refused?.details).toContain("64 streams");
      for (const watcher of watchers) watcher.call.cancel();
      await until(() => subscribed === 0, "all subscriptions given back");
    }
  });

  test("ends UNAVAILABLE when the sensor stops", async () => {
    open = await harness();
    const watched = watch(open);
    await watched.started;
    await open.control.stop();
    expect((await watched.ended)?.code).toBe(status.UNAVAILABLE);
  });

  test("a watcher that takes nothing does not hold up the stop for long", async () => {
    open = await harness();
    await open.spool.putEvents(Array.from({ length: 50 }, () => verdictEvent("clean", 20_000)));
    const request = WatchEventsRequest.encode(watchRequest({ afterSeq: 0n })).finish();
    const stuck = rawCall(
      open.control.address.slice("unix:".length),
      "/emailsensor.v1.SensorService/WatchEvents",
      request,
    );
    try {
      await until(() => stuck.received() === 65_535, "the first window full");
      await open.control.stop();
      expect(existsSync(open.control.address.slice("unix:".length))).toBe(false);
    } finally {
      stuck.close();
    }
  });
});
