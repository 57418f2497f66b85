/** How much of a mail is read to look for what lies in a part. */
import { Database } from "bun:sqlite";
import { expect, spyOn, test } from "bun:test";
import { lookUpMembers } from "../../../src/spool/members.ts";
import { attachment } from "./fixtures.ts";

test("bug: all parts of a mail were read for each of them that stayed unknown", () => {
  const db = new Database(":memory:");
  db.run("CREATE TABLE artifacts (mail INTEGER, n INTEGER, artifact TEXT, key TEXT, verdict TEXT, was TEXT)");
  db.run("CREATE TABLE mails (seq INTEGER, verdict TEXT)");
  const put = db.query("INSERT INTO artifacts (mail, n, artifact) VALUES (1, ?, ?)");
  const PARTS = 1_000;
  for (let n = 0; n < PARTS; n++) put.run(n, JSON.stringify(attachment(`part ${n}`)));
  const parse = spyOn(JSON, "parse");
  for (let n = 0; n < PARTS; n++) {
    expect(lookUpMembers(db, 1, n, 0)).toEqual({ waiting: 0, malicious: false });
  }
  expect(parse.mock.calls.length).toBeLessThan(PARTS * 3);
  parse.mockRestore();
  db.close();
});
