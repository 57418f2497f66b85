/** The list of finished submissions: its place, what it is believed, and when it is left alone. */
import { expect, test } from "bun:test";
import { createFeed } from "../../../src/analyzer/feed.ts";
import { VmrayError } from "../../../src/analyzer/vmray-error.ts";
import { contentKey } from "../../../src/triage/plan.ts";
import { QUIET } from "../spool/fixtures.ts";
import { file, submission, world } from "./harness.ts";

const never = new AbortController().signal;
const INTERVAL = 100;

/** A VMRay whose submissions finish in this order. */
function listed(order: readonly number[]) {
  const asked: (number | null)[] = [];
  return {
    asked,
    order: [...order],
    async finishedAfter(lastId: number | null, limit: number) {
      asked.push(lastId);
      const from = lastId === null ? 0 : this.order.indexOf(lastId) + 1;
      const ids = this.order.slice(from, from + limit);
      return {
        submissions: ids.map((id) => submission({ submission_id: id, submission_finished: true })),
        cursor: ids.at(-1) ?? lastId,
      };
    },
  };
}

async function submitted(ids: readonly number[]) {
  const here = await world();
  for (const id of ids) {
    const part = file(`submission ${id}`);
    await here.mail(part);
    const progress = { state: "submitted", sampleIds: [], submissionIds: [id], submittedAt: 1 } as const;
    await here.spool.recordProgress(contentKey(part), progress, Date.now() + 3_600_000, 0);
  }
  return here;
}
const keyOf = (id: number) => contentKey(file(`submission ${id}`));

test("names what finished since the last look, in one call, and goes on there after a restart", async () => {
  const here = await submitted([5, 6, 7]);
  const client = listed([3, 6]);
  const feed = createFeed({ client, spool: here.spool, pollInterval: INTERVAL, log: QUIET });
  expect(await feed.read(0, never)).toEqual([keyOf(6)]);
  client.order.push(5);
  expect(await feed.read(100, never)).toEqual([keyOf(5)]);
  const again = createFeed({ client, spool: here.spool, pollInterval: INTERVAL, log: QUIET });
  client.order.push(900, 7);
  expect(await again.read(200, never)).toEqual([keyOf(7)]);
  expect(client.asked).toEqual([null, 6, 5]);
  expect([again.toldOf(900), again.toldOf(6)]).toEqual([true, false]);
});

test("is asked once a poll interval, and four times as often for a while after a submission", async () => {
  const here = await submitted([]);
  const feed = createFeed({ client: listed([1]), spool: here.spool, pollInterval: INTERVAL, log: QUIET });
  await feed.read(1_000, never);
  expect(feed.nextAt()).toBe(1_100);
  feed.submitted(1_000);
  expect(feed.nextAt()).toBe(1_025);
  await feed.read(1_025, never);
  expect(feed.nextAt()).toBe(1_050);
  await feed.read(1_400, never);
  expect(feed.nextAt()).toBe(1_500);
});

test("is left alone where it leaves out what single polls find finished, and asked again later", async () => {
  const here = await submitted([]);
  const feed = createFeed({ client: listed([1]), spool: here.spool, pollInterval: INTERVAL, log: QUIET });
  await feed.read(0, never);
  for (const id of [11, 12, 13]) feed.foundFinished(id);
  await feed.read(100, never);
  expect(feed.trusted(100)).toBe(true);
  await feed.read(200, never);
  expect(feed.trusted(200)).toBe(false);
  expect(feed.trusted(200 + 120 * INTERVAL)).toBe(true);
});

test("is believed where it names a little later what a single poll found", async () => {
  const here = await submitted([]);
  const client = listed([1]);
  const feed = createFeed({ client, spool: here.spool, pollInterval: INTERVAL, log: QUIET });
  await feed.read(0, never);
  for (let id = 11; id < 20; id++) {
    feed.foundFinished(id);
    client.order.push(id);
    await feed.read(id * 100, never);
    await feed.read(id * 100 + 50, never);
  }
  expect(feed.trusted(2_000)).toBe(true);
});

test.each([
  ["VMRAY_ANSWER", 400],
  ["VMRAY_AUTH", 403],
  ["VMRAY_ANSWER", 404],
] as const)("%s (HTTP %d) means that there is none, and is no fault", async (code, status) => {
  const here = await submitted([]);
  const client = {
    finishedAfter: async () => {
      throw new VmrayError(code, "no", { status });
    },
  };
  const feed = createFeed({ client, spool: here.spool, pollInterval: INTERVAL, log: QUIET });
  expect(await feed.read(0, never)).toEqual([]);
  expect([feed.trusted(1), feed.nextAt() > 10_000]).toEqual([false, true]);
});

test.each([
  ["VMRAY_AUTH", 401],
  ["VMRAY_THROTTLED", 429],
  ["VMRAY_UNREACHABLE", 500],
] as const)("%s (HTTP %d) is a fault of VMRay's", async (code, status) => {
  const here = await submitted([]);
  const client = {
    finishedAfter: async () => {
      throw new VmrayError(code, "no", { status });
    },
  };
  const feed = createFeed({ client, spool: here.spool, pollInterval: INTERVAL, log: QUIET });
  expect(await feed.read(0, never).catch((thrown) => thrown.code)).toBe(code);
  expect(feed.trusted(1)).toBe(true);
});
