/** What lies in a file that could not be judged as a whole is looked up by itself. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { analysisKey } from "../../../src/spool/analyses.ts";
import type { MailRow, Spool } from "../../../src/spool/spool.ts";
import type { PlannedArtifact } from "../../../src/triage/plan.ts";
import { judge } from "../../../src/verdict/judge.ts";
import type { ContentVerdict } from "../../../src/verdict/verdict.ts";
import { attachment, extractionOf, judged, open, someMail, temporaryFolder } from "./fixtures.ts";

let folder: ReturnType<typeof temporaryFolder>;
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => folder.remove());

const LEFT_OUT = {
  action: "skip",
  rule: "default.in_analysed_file",
  reason: "The file lies in an archive that is analysed as a whole.",
} as const;

/** A file at this place; one that lies in another is left out for that, unless it is decided by itself. */
function part(name: string, path: readonly string[], itself = path.length === 0): PlannedArtifact {
  const artifact = attachment(name);
  if (artifact.kind === "url") return artifact;
  return {
    ...artifact,
    attachment: { ...artifact.attachment, path, within: path.length === 0 ? "mail" : "archive" },
    decision: itself ? artifact.decision : LEFT_OUT,
  };
}
const lookUpKey = (artifact: PlannedArtifact): string =>
  analysisKey({ ...artifact, decision: { ...artifact.decision, action: "lookup" } });

async function want(spool: Spool, parts: readonly PlannedArtifact[]): Promise<string> {
  const mail = someMail();
  await spool.putMail(mail);
  await spool.recordExtraction(mail.id, extractionOf(parts), parts);
  return mail.id;
}
const row = async (spool: Spool, id: string): Promise<MailRow> => {
  const found = await spool.mail(id);
  if (found === null) throw new Error("no such mail");
  return found;
};
const keys = async (spool: Spool) =>
  (await spool.dueAnalyses(Date.now() + 1, 100, new Set())).map(({ key }) => key).sort();
const decisions = ({ artifacts }: MailRow) => artifacts.map(({ decision }) => decision.rule);

const ZIP = part("zip", []);
const EXE = part("exe", ["zip"]);
const FAILED: ContentVerdict = { ...judged("not_available"), outcome: "failed", reason: "refused" };

describe("members of an archive", () => {
  test.each([
    ["VMRay has no verdict for it", judged("not_available")],
    ["its analysis failed", FAILED],
    ["less of it was analysed than was wanted", { ...judged("clean"), partial: true as const }],
  ])("are looked up where %s, and one that is malicious makes the mail so", async (_, verdict) => {
    const spool = await open(folder.path);
    const id = await want(spool, [
      ZIP,
      EXE,
      part("inner", ["zip"]),
      part("deep", ["zip", "inner"]),
      part("x", []),
    ]);
    await spool.finishAnalysis(analysisKey(part("x", [])), judged("clean"), null);
    await spool.finishAnalysis(analysisKey(ZIP), verdict, null);
    const waiting = await row(spool, id);
    expect(waiting.state).toBe("analysing");
    expect(decisions(waiting)).toEqual([
      "test",
      "default.in_unjudged_file",
      "default.in_unjudged_file",
      "default.in_unjudged_file",
      "test",
    ]);
    const members = [EXE, part("inner", []), part("deep", [])].map(lookUpKey);
    expect(await keys(spool)).toEqual(members.toSorted());
    for (const key of members) {
      await spool.finishAnalysis(key, judged(key === lookUpKey(EXE) ? "malicious" : "not_available"), null);
    }
    const done = await row(spool, id);
    expect([done.state, judge(done).verdict]).toEqual(["analysed", "malicious"]);
    await spool.close();
  });

  test("are left out where it has a verdict", async () => {
    const spool = await open(folder.path);
    const id = await want(spool, [ZIP, EXE]);
    await spool.finishAnalysis(analysisKey(ZIP), judged("clean"), null);
    const done = await row(spool, id);
    expect([done.state, decisions(done)[1]]).toEqual(["analysed", "default.in_analysed_file"]);
    expect(await keys(spool)).toEqual([]);
    await spool.close();
  });

  test("are looked up for a later mail too, to which the missing verdict is known", async () => {
    const spool = await open(folder.path);
    await want(spool, [ZIP]);
    await spool.finishAnalysis(analysisKey(ZIP), FAILED, Date.now() + 60_000);
    const id = await want(spool, [ZIP, EXE]);
    expect((await row(spool, id)).state).toBe("analysing");
    expect(await keys(spool)).toEqual([lookUpKey(EXE)]);
    await spool.finishAnalysis(lookUpKey(EXE), judged("malicious"), Date.now() + 60_000);
    // And what is known of the member needs no look.
    const known = await row(spool, await want(spool, [ZIP, EXE]));
    expect([known.state, judge(known).verdict]).toEqual(["analysed", "malicious"]);
    await spool.close();
  });

  test("of one that is decided by itself wait for that one", async () => {
    const spool = await open(folder.path);
    const inner = part("sealed", ["zip"], true);
    const id = await want(spool, [ZIP, inner, part("deep", ["zip", "sealed"]), EXE]);
    await spool.finishAnalysis(analysisKey(ZIP), FAILED, null);
    expect(await keys(spool)).toEqual([analysisKey(inner), lookUpKey(EXE)].toSorted());
    await spool.finishAnalysis(analysisKey(inner), FAILED, null);
    expect(await keys(spool)).toEqual([lookUpKey(part("deep", [])), lookUpKey(EXE)].toSorted());
    for (const key of await keys(spool)) await spool.finishAnalysis(key, judged("clean"), null);
    expect((await row(spool, id)).state).toBe("analysed");
    await spool.close();
  });

  test("wake the analyzer", async () => {
    const spool = await open(folder.path);
    await want(spool, [ZIP, EXE]);
    let woken = 0;
    spool.subscribe("analyses", () => {
      woken += 1;
    });
    await spool.finishAnalysis(analysisKey(ZIP), FAILED, null);
    expect(woken).toBe(1);
    await spool.close();
  });
});
