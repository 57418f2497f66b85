/** The control service of the compiled binary, called by a client in another language and by its own commands. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { join } from "node:path";
import { binaryPath, launchSensor, startAnalyzer, type TestSensor } from "./lib/binary.ts";
import { mails } from "./lib/mails.ts";
import { openPlace, type Place, waitFor } from "./lib/place.ts";
import { sendMails } from "./lib/smtp.ts";

/** Debian's Python, which has python3-grpcio and python3-protobuf. */
const PYTHON = "/usr/bin/python3";

let place: Place;
let sensor: TestSensor;
beforeEach(async () => {
  place = openPlace("control");
  const analyzer = await startAnalyzer(place);
  sensor = await launchSensor(place, { analyzer });
});
afterEach(async () => {
  await sensor.stop();
  await place.close();
});

type Outcome = { readonly code: number; readonly lines: readonly string[] };

async function run(command: readonly string[]): Promise<Outcome> {
  const child = Bun.spawn([...command], { stdout: "pipe", stderr: "inherit" });
  const [out, code] = await Promise.all([child.stdout.text(), child.exited]);
  return { code, lines: out.split("\n").filter((line) => line !== "") };
}

const python = (...args: readonly string[]) =>
  run([PYTHON, join(import.meta.dir, "grpc_client.py"), `unix:${sensor.control}`, ...args]);
const own = (...args: readonly string[]) =>
  run([binaryPath(), ...args, "--json", "--address", `unix:${sensor.control}`]);

test("a Python client learns the API by reflection, and sees what the commands see", async () => {
  expect((await python("list")).lines).toEqual([
    "emailsensor.v1.SensorService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
  ]);
  expect((await python("call", "grpc.health.v1.Health/Check")).lines).toEqual(['{"status": "SERVING"}']);

  const sent = mails(10, 3);
  expect((await sendMails(sensor.smtpPort, sent, { connections: 2 })).refused).toEqual([]);
  await waitFor("ten verdicts", async () => {
    const [status = "{}"] = (await own("status")).lines;
    return JSON.parse(status).mails?.done === 10 ? true : undefined;
  });

  const [status = ""] = (await python("call", "emailsensor.v1.SensorService/GetStatus")).lines;
  expect(JSON.parse(status).status.mails).toEqual({ done: "10" });
  const request = JSON.stringify({ filter: { states: ["MAIL_STATE_DONE"] }, page_size: 10 });
  const [page = ""] = (await python("call", "emailsensor.v1.SensorService/ListMails", request)).lines;
  const listed = JSON.parse(page).mails as readonly { readonly id: string; readonly verdict: string }[];
  const shown = (await own("mails")).lines.map((line) => JSON.parse(line));
  expect(listed.map(({ id, verdict }) => [id, verdict.replace("VERDICT_", "").toLowerCase()])).toEqual(
    shown.map(({ id, verdict }) => [id, verdict]),
  );

  const [first] = shown;
  const [detail = ""] = (
    await python("call", "emailsensor.v1.SensorService/GetMail", JSON.stringify({ id: first.id }))
  ).lines;
  const [ownDetail = ""] = (await own("mail", first.id)).lines;
  expect(JSON.parse(detail).mail.sha256).toBe(JSON.parse(ownDetail).mail.sha256);

  const watched = await python(
    ...["call", "emailsensor.v1.SensorService/WatchEvents"],
    ...['{"after_seq": "0", "types": ["EVENT_TYPE_MAIL_VERDICT"]}', "--limit", "10"],
  );
  const events = watched.lines.map((line) => JSON.parse(line).event);
  expect(events.map((event) => event.mail.id).sort()).toEqual(shown.map(({ id }) => id).sort());
  const seqs = events.map((event) => Number(event.seq));
  expect(seqs).toEqual(seqs.toSorted((a, b) => a - b));
}, 600_000);

test("what a Python client gets wrong is answered with what to do", async () => {
  const { code, lines } = await python("call", "emailsensor.v1.SensorService/ListMails", '{"page_size": -1}');
  expect(code).toBe(1);
  expect(JSON.parse(lines[0] ?? "{}")).toEqual({
    code: "INVALID_ARGUMENT",
    details: "page_size: is negative; give 1 to 500, or 0 for 50",
  });
}, 600_000);
