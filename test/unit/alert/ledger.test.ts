import { afterEach, expect, test } from "bun:test";
import { keepEvent } from "../../../src/alert/facts.ts";
import { type Ledger, openLedger } from "../../../src/alert/ledger.ts";
import type { AlertNote, Spool } from "../../../src/spool/spool.ts";
import { content, file, mailRow, verdictEvent } from "../report/fixtures.ts";
import { open, temporaryFolder } from "../spool/fixtures.ts";
import { alertConfig, malicious } from "./fixtures.ts";

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function someSpool(): Promise<Spool> {
  const folder = temporaryFolder();
  closing.push(folder.remove);
  const spool = await open(folder.path);
  closing.push(() => spool.close());
  await spool.addDestinations(["alert:soc"]);
  return spool;
}

const openOn = (spool: Pick<Spool, "alertNotes" | "putAlertNotes">, change = {}, now = Date.now) =>
  openLedger({ destination: "alert:soc", settings: alertConfig(change), spool, now });

let count = 0;
/** Records a mail with a content of its own for so many recipients; gives what records it again. */
function record(ledger: Ledger, recipients: number, part = malicious): (other: Ledger) => void {
  count += 1;
  const own = `content ${count}`;
  const to = Array.from({ length: recipients }, (_, n) => `r${n}@example.org`);
  const row = mailRow([file("x.zip", part)]);
  const event = verdictEvent({ ...row, envelope: { ...row.envelope, to } });
  const recordIn = (one: Ledger) =>
    one.record(
      keepEvent(event, "malicious", ["attachment"]),
      [own],
      to.map((address) => ({ address, fixed: false, yours: true })),
      to,
    );
  recordIn(ledger);
  return recordIn;
}

const big = content({
  verdict: "malicious",
  threat_names: Array.from({ length: 20 }, (_, n) => `${n}`.padEnd(60, "x")),
});

test("an event is stored once, in small pieces, however many recipients are to be told of it", async () => {
  const spool = await someSpool();
  const pieces: (readonly AlertNote[] | readonly { body: string | null }[])[] = [];
  const ledger = await openOn({
    alertNotes: spool.alertNotes,
    putAlertNotes: async (destination, notes) => {
      pieces.push(notes);
      await spool.putAlertNotes(destination, notes);
    },
  });
  for (let mails = 0; mails < 5; mails += 1) record(ledger, 1000, big);
  await ledger.save();
  const sizeOf = (notes: readonly { readonly body: string | null }[]) =>
    notes.reduce((sum, { body }) => sum + (body?.length ?? 0), 0);
  expect(Math.max(...pieces.map((piece) => piece.length))).toBeLessThan(600);
  expect(Math.max(...pieces.map(sizeOf))).toBeLessThan(1_200_000);
  const stored = await spool.alertNotes("alert:soc");
  expect(sizeOf(stored)).toBeLessThan(5_000_000);
  expect(stored.filter(({ body }) => body.includes("xxxxx"))).toHaveLength(5);

  const again = await openOn(spool);
  expect(again.waiting()).toBe(5000);
  const [id] = again.due(Date.now());
  expect(again.begin(id ?? "")).toEqual(ledger.begin(id ?? ""));
  expect(again.begin(id ?? "")?.rows[0]?.event.attachments).toHaveLength(1);
});

test("there is room for no further event once the bound of waiting alerts is reached", async () => {
  const ledger = await openOn(await someSpool());
  let mails = 0;
  for (; ledger.hasRoom(); mails += 1) record(ledger, 1000);
  expect(mails).toBe(10);
  expect(ledger.waiting()).toBe(10_000);
});

test("what was told takes its event and its recipients along out of the spool", async () => {
  const spool = await someSpool();
  const ledger = await openOn(spool);
  record(ledger, 2);
  await ledger.save();
  for (const id of ledger.due(Date.now())) {
    ledger.begin(id);
    ledger.sent(id);
    await ledger.save();
  }
  const ids = (await spool.alertNotes("alert:soc")).map(({ id }) => id.split(":")[0]);
  expect(ids.toSorted()).toEqual(["alert", "alert", "limit", "limit", "limit"]);
});

test("a crash between two pieces leaves each note whole, and the event recorded again counts once", async () => {
  const spool = await someSpool();
  let left = 1;
  const ledger = await openOn({
    alertNotes: spool.alertNotes,
    putAlertNotes: async (destination, notes) => {
      left -= 1;
      if (left < 0) throw new Error("killed");
      await spool.putAlertNotes(destination, notes);
    },
  });
  const recordAgain = record(ledger, 1000);
  await expect(ledger.save()).rejects.toThrow("killed");
  const again = await openOn(spool);
  const notes = again.due(Date.now()).map((id) => again.begin(id));
  expect(notes.length).toBeGreaterThan(100);
  expect(notes.length).toBeLessThan(1000);
  for (const note of notes) {
    expect(note?.rows[0]?.event.attachments).toHaveLength(1);
    expect(note?.recipients).toHaveLength(200);
  }
  recordAgain(again);
  expect(again.waiting()).toBe(1000);
  expect(new Set(again.due(Date.now()).map((id) => again.begin(id)?.mails))).toEqual(new Set([1]));
  // The ledger that lives on writes the rest with the next save.
  left = 100;
  await ledger.save();
  expect((await openOn(spool)).waiting()).toBe(1000);
});

test("a clock that is put back, also while the sensor is down, makes nothing wait longer and nothing count as told longer", async () => {
  const year = 365 * 86_400_000;
  const spool = await someSpool();
  let time = Date.now() + year;
  const ledger = await openOn(spool, { campaign_wait: "10s" }, () => time);
  const fixed = (other: Ledger, own: string) => {
    const event = verdictEvent(mailRow([file("x.zip", malicious)]));
    const soc = { address: "soc@example.org", fixed: true, yours: false };
    other.record(keepEvent(event, "malicious", ["attachment"]), [own], [soc], []);
  };
  const told = (other: Ledger) => {
    const ids = other.due(time);
    for (const id of ids) {
      other.begin(id);
      other.sent(id);
    }
    return ids.length;
  };
  fixed(ledger, "one");
  time += 10_000;
  expect(told(ledger)).toBe(1);
  fixed(ledger, "two");
  time -= year;
  expect(told(ledger)).toBe(0);
  time += 10_000;
  expect(told(ledger)).toBe(1);
  fixed(ledger, "one");
  time += 3_600_000;
  fixed(ledger, "one");
  expect(told(ledger)).toBe(1);

  fixed(ledger, "three");
  await ledger.save();
  time -= year;
  const later = await openOn(spool, { campaign_wait: "10s" }, () => time);
  time += 3_600_000;
  expect(told(later)).toBeGreaterThan(0);
  expect(later.waiting()).toBe(0);
});

test("a new content behind many known ones is told: all beyond the twentieth used to be taken for known", async () => {
  const spool = await someSpool();
  const ledger = await openOn(spool);
  const mail = (contents: readonly string[]) => {
    const event = verdictEvent(mailRow([file("x.zip", malicious)]));
    const anna = { address: "anna@example.org", fixed: false, yours: true };
    ledger.record(keepEvent(event, "malicious", ["attachment"]), contents, [anna], [anna.address]);
    const ids = ledger.due(Date.now());
    for (const id of ids) {
      ledger.begin(id);
      ledger.sent(id);
    }
    return ids.length;
  };
  for (const count of [20, 30]) {
    const decoys = Array.from({ length: count }, (_, n) => `decoy ${n} of ${count}`);
    expect(mail(decoys)).toBe(1);
    expect(mail(decoys.toReversed())).toBe(0);
    expect(mail([...decoys, `payload behind ${count}`])).toBe(1);
  }
});

test("changes made while a save is under way are saved when its caller goes on", async () => {
  const spool = await someSpool();
  const ledger = await openOn(spool);
  record(ledger, 1000);
  const first = ledger.save();
  record(ledger, 3);
  await Promise.all([first, ledger.save()]);
  expect((await openOn(spool)).waiting()).toBe(1003);
});

test("notes of older releases, with their event and recipients within, are read", async () => {
  const spool = await someSpool();
  const first = await openOn(spool);
  record(first, 1);
  const [id = ""] = first.due(Date.now());
  const note = first.begin(id);
  await spool.putAlertNotes("alert:soc", [{ id, body: JSON.stringify({ ...note, id: undefined }) }]);
  const ledger = await openOn(spool);
  expect(ledger.begin(id)).toEqual(note);
  ledger.postponed(id, Date.now());
  await ledger.save();
  expect((await openOn(spool)).begin(id)).toMatchObject({ rows: note?.rows, attempts: 1 });
});
