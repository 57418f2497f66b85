import { expect, test } from "bun:test";
import { SensorError } from "../../../src/errors.ts";
import { startDelivery } from "../../../src/report/delivery.ts";
import type { SensorEvent } from "../../../src/report/event.ts";
import { pacedCarrier } from "../../../src/report/paced.ts";
import type { Spool } from "../../../src/spool/spool.ts";
import { open, someEvent, temporaryFolder } from "../spool/fixtures.ts";
import { recordingLog } from "./fixtures.ts";

test("a batch does not overtake one in front of it that failed while its messages were made", async () => {
  const carried: string[] = [];
  let down = true;
  const fault = new SensorError("SIEM_UNREACHABLE", "cut");
  const carrier = pacedCarrier(
    ({ id }: SensorEvent) => id,
    (messagesOf) => ({
      carry: async (events) => {
        if (down) {
          down = false;
          return { delivered: 0, fault, retryAfter: 7 };
        }
        carried.push(...events.map(messagesOf));
        return { delivered: events.length, fault: null };
      },
      close: async () => {},
    }),
  );
  const [first, second] = [[someEvent()], [someEvent()]];
  const results = [first, second].map((events) => carrier.carry(events));
  expect(await Promise.all(results)).toEqual([
    { delivered: 0, fault, retryAfter: 7 },
    { delivered: 0, fault, retryAfter: 7 },
  ]);
  for (const events of [first, second]) expect(await carrier.carry(events)).toMatchObject({ fault: null });
  expect(carried).toEqual([...first, ...second].map(({ id }) => id));
});

test("a backlog whose messages take long to make is not read into memory as a whole", async () => {
  const folder = temporaryFolder();
  const real = await open(folder.path);
  await real.addDestinations(["d"]);
  await real.putEvents(Array.from({ length: 10_000 }, () => someEvent()));
  let read = 0;
  let furthest = 0;
  let made = 0;
  const spool: Spool = {
    ...real,
    eventsAfter: async (seq, limit) => {
      const events = await real.eventsAfter(seq, limit);
      read += events.length;
      furthest = Math.max(furthest, events.at(-1)?.seq ?? 0);
      return events;
    },
  };
  const slow = () => {
    const until = performance.now() + 1;
    while (performance.now() < until);
    made += 1;
    return made;
  };
  const carrier = pacedCarrier(slow, (madeOf) => ({
    carry: async (events) => {
      for (const event of events) madeOf(event);
      return { delivered: events.length, fault: null };
    },
    close: async () => {},
  }));
  const { log } = recordingLog();
  const common = { destination: "d", name: "d", spool, log, batch: 100, wants: () => true };
  const loop = startDelivery({ ...common, carrier });
  let most = 0;
  for (; made <= 500; await Bun.sleep(1)) most = Math.max(most, furthest - made);
  await loop.stop();
  await real.close();
  folder.remove();
  expect(most).toBeLessThanOrEqual(2500);
  expect(read).toBeLessThan(made + 3000);
});

test("messages that take long to make leave room for others, and keep the order of their batches", async () => {
  const carried: string[] = [];
  let formatted = 0;
  const carrier = pacedCarrier(
    (event: SensorEvent) => {
      formatted += 1;
      const until = performance.now() + 15;
      while (performance.now() < until);
      return event.id;
    },
    (messagesOf) => ({
      carry: async (events) => {
        carried.push(...events.map(messagesOf));
        return { delivered: events.length, fault: null };
      },
      close: async () => {},
    }),
  );
  const batches = [1, 2, 3].map(() => Array.from({ length: 10 }, () => someEvent()));
  let most = 0;
  let before = 0;
  const ticking = setInterval(() => {
    most = Math.max(most, formatted - before);
    before = formatted;
  }, 1);
  await Promise.all(batches.map((events) => carrier.carry(events)));
  clearInterval(ticking);
  expect(carried).toEqual(batches.flat().map(({ id }) => id));
  expect(formatted).toBe(30);
  // Not even one batch is made without room for others.
  expect(most).toBeWithin(1, 10);
});

test("a stop waited until the messages of everything under way were made", async () => {
  let formatted = 0;
  let carried = 0;
  let closed = false;
  const carrier = pacedCarrier(
    (event: SensorEvent) => {
      formatted += 1;
      const until = performance.now() + 5;
      while (performance.now() < until);
      return event.id;
    },
    (messagesOf) => ({
      carry: async (events) => {
        carried += events.map(messagesOf).length;
        return { delivered: events.length, fault: null };
      },
      close: async () => {
        closed = true;
      },
    }),
  );
  const batches = Array.from({ length: 10 }, () => Array.from({ length: 100 }, () => someEvent()));
  const under = batches.map((events) => carrier.carry(events));
  await Bun.sleep(0);
  await carrier.close();
  const late = { delivered: 0, fault: expect.objectContaining({ code: "SIEM_UNREACHABLE" }) };
  expect(await Promise.all(under)).toEqual(batches.map(() => late));
  expect([closed, carried]).toEqual([true, 0]);
  expect(formatted).toBeLessThan(100);
});
