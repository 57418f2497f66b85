import { afterEach, expect, test } from "bun:test";
import { open, temporaryFolder } from "./fixtures.ts";

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

test("notes of alerts survive a restart, are replaced and forgotten, and go with their destination", async () => {
  const folder = temporaryFolder();
  closing.push(folder.remove);
  let spool = await open(folder.path);
  await spool.addDestinations(["alert:a", "alert:b"]);
  await spool.putAlertNotes("alert:a", [
    { id: "1", body: "one" },
    { id: "2", body: "two" },
  ]);
  await spool.putAlertNotes("alert:b", [{ id: "1", body: "other" }]);
  await spool.putAlertNotes("alert:a", [
    { id: "1", body: "new" },
    { id: "2", body: null },
    { id: "3", body: null },
  ]);
  await spool.close();
  spool = await open(folder.path);
  closing.push(() => spool.close());
  expect(await spool.alertNotes("alert:a")).toEqual([{ id: "1", body: "new" }]);
  await spool.forgetDestination("alert:a", null);
  await spool.addDestinations(["alert:a", "alert:b"]);
  expect(await spool.alertNotes("alert:a")).toEqual([]);
  expect(await spool.alertNotes("alert:b")).toEqual([{ id: "1", body: "other" }]);
});
