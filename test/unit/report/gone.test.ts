import { afterEach, expect, test } from "bun:test";
import { createLog } from "../../../src/log.ts";
import { startGone } from "../../../src/report/gone.ts";
import { open, someEvent, temporaryFolder } from "../spool/fixtures.ts";

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const DAY = 24 * 60 * 60 * 1000;

test("what waits for a destination that is gone is kept for a day, then given up with an event", async () => {
  const folder = temporaryFolder();
  closing.push(folder.remove);
  const spool = await open(folder.path);
  closing.push(() => spool.close());
  await spool.addDestinations(["siem:old", "siem:quiet"]);
  const lost = someEvent();
  await spool.putEvents([lost]);
  await spool.advanceCursor("siem:quiet", 1);
  const lines: Record<string, unknown>[] = [];
  const log = createLog("info", (line) => lines.push(JSON.parse(line)));
  const turn = async (time: number, names: readonly string[] = ["siem:new"]) => {
    await spool.addDestinations(names);
    const running = startGone({ names, spool, sensor: { id: "s", version: "1" }, log, now: () => time });
    await Bun.sleep(20);
    await running.stop();
  };
  await turn(1000);
  await turn(999 + DAY);
  expect(lines.map(({ destination, waiting, until }) => ({ destination, waiting, until }))).toEqual([
    { destination: "siem:old", waiting: 1, until: new Date(1000 + DAY).toISOString() },
    { destination: "siem:quiet", waiting: 0, until: new Date(1000 + DAY).toISOString() },
    { destination: "siem:old", waiting: 1, until: new Date(1000 + DAY).toISOString() },
    { destination: "siem:quiet", waiting: 0, until: new Date(1000 + DAY).toISOString() },
  ]);
  expect(await spool.eventsAfter(1, 9)).toEqual([]);
  await turn(1000 + DAY);
  const told = (await spool.eventsAfter(1, 9)).map(({ event }) => event);
  expect(told.map(({ type, state }) => [type, state?.name])).toEqual([["sensor.state", "events_dropped"]]);
  expect(told[0]?.state?.message).toContain(`1 events that waited for siem:old were given up`);
  expect(told[0]?.state?.message).toContain(lost.id);
  expect(await spool.keepDestinations(["siem:new"], 2000 + DAY)).toEqual([]);
});
