import { expect, test } from "bun:test";
import { SensorError } from "../../../src/errors.ts";
import type { SensorEvent } from "../../../src/report/event.ts";
import { pacedCarrier } from "../../../src/report/paced.ts";
import { someEvent } from "../spool/fixtures.ts";

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
  let longest = 0;
  let last = performance.now();
  const ticking = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 1);
  await Promise.all(batches.map((events) => carrier.carry(events)));
  clearInterval(ticking);
  expect(carried).toEqual(batches.flat().map(({ id }) => id));
  expect(formatted).toBe(30);
  // All of it takes 450 ms, and one batch 150.
  expect(longest).toBeLessThan(140);
});
