/** Configurations that change under the running binary: what waits for a destination is not lost by it. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { freePort } from "../ports.ts";
import { binaryPath, launchSensor, startAnalyzer, type TestSensor } from "./lib/binary.ts";
import { mails } from "./lib/mails.ts";
import { openPlace, type Place, signalQuietly, start, waitFor } from "./lib/place.ts";
import { greeting, sendMails } from "./lib/smtp.ts";

let place: Place;
beforeEach(() => {
  place = openPlace("reload");
});
afterEach(() => place.close());

type Written = {
  siem: { name: string; syslog: string; framing: string }[];
  smtp: { listen: string[] };
};

/** Writes the configuration anew and has the sensor read it; gives what the log says of it. */
async function reload(sensor: TestSensor, change: (config: Written) => void): Promise<string> {
  const config = JSON.parse(readFileSync(sensor.configPath, "utf8")) as Written;
  change(config);
  writeFileSync(sensor.configPath, JSON.stringify(config));
  const before = sensor.log().length;
  process.kill(sensor.pid(), "SIGHUP");
  return waitFor("the end of the reload", () => {
    const line = sensor
      .log()
      .slice(before)
      .find(({ msg }) => /configuration reloaded|the old one stays/.test(String(msg)));
    return line === undefined ? undefined : String(line.msg);
  });
}

/** Lines of syslog, from now on. */
async function listen(port: number): Promise<() => string> {
  let text = "";
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("data", (bytes: Buffer) => {
      text += bytes.toString();
    });
    socket.on("error", () => socket.destroy());
  });
  await new Promise<void>((done) => server.listen(port, "127.0.0.1", done));
  place.onClose(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return () => text;
}

const verdictsIn = (text: string): readonly string[] =>
  text
    .split("\n")
    .slice(0, -1)
    .flatMap((line) => /"type":"mail.verdict".*"message_id":"([^"]+)/.exec(line)?.[1] ?? []);

test("events that wait for a SIEM outlive a reload that fails, and a wrong name until it is right again", async () => {
  const analyzer = await startAnalyzer(place, { queued: "0ms", work: "0ms" });
  const port = await freePort();
  const soc = { name: "soc", syslog: `tcp://127.0.0.1:${port}`, framing: "lf" };
  const sensor = await launchSensor(place, { analyzer, config: { siem: [soc] } });
  const sent = mails(4, 2);
  expect((await sendMails(sensor.smtpPort, sent)).refused).toEqual([]);
  await waitFor("the verdicts", () =>
    sensor.log().filter(({ stage }) => stage === "verdict").length >= sent.length ? true : undefined,
  );
  // The address of the analyzer is taken.
  const taken = new URL(analyzer.url).host;
  const [own] = (JSON.parse(readFileSync(sensor.configPath, "utf8")) as Written).smtp.listen;
  if (own === undefined) throw new Error("the sensor listens nowhere");
  const failed = await reload(sensor, (config) => {
    config.siem = [{ ...soc, name: "renamed" }];
    config.smtp.listen = [taken];
  });
  expect(failed).toContain("the old one stays");
  const renamed = await reload(sensor, (config) => {
    config.smtp.listen = [own];
  });
  expect(renamed).toBe("configuration reloaded");
  const warned = await waitFor("the warning", () =>
    sensor.log().find(({ destination, waiting }) => destination === "siem:soc" && waiting !== undefined),
  );
  expect(warned.level).toBe("warn");
  expect(Number(warned.waiting)).toBeGreaterThanOrEqual(sent.length);
  await sensor.kill();
  await sensor.start();
  await reload(sensor, (config) => {
    config.siem = [soc];
  });
  const text = await listen(port);
  await waitFor("every verdict", () => (verdictsIn(text()).length >= sent.length ? true : undefined));
  expect(new Set(verdictsIn(text()))).toEqual(new Set(sent.map(({ key }) => key)));
  expect(await sensor.stop()).toBe(0);
}, 600_000);

test("a signal that comes while the sensor starts waits for it: SIGHUP ended it, between its greeting and the end of its start", async () => {
  const analyzer = await startAnalyzer(place);
  const sensor = await launchSensor(place, { analyzer });
  expect(await sensor.stop()).toBe(0);
  /** Starts it and stops it, as SIGSTOP does, when it has opened its spool and logged nothing yet. */
  const starting = (name: string) =>
    waitFor("a start that is met in the middle", async () => {
      rmSync(sensor.spoolPath, { recursive: true });
      mkdirSync(sensor.spoolPath);
      const life = start(place, name, [binaryPath(), "run", "--config", sensor.configPath]);
      while (!existsSync(join(sensor.spoolPath, "lock")) && life.exitCode() === null) await Bun.sleep(1);
      signalQuietly(life.pid, "SIGSTOP");
      if (life.stdout() === "") return life;
      await life.stop("SIGKILL");
      return undefined;
    });
  const hup = await starting("hup");
  process.kill(hup.pid, "SIGHUP");
  process.kill(hup.pid, "SIGCONT");
  await waitFor("the reload", () => (hup.stdout().includes('"configuration reloaded"') ? true : undefined));
  await greeting(sensor.smtpPort);
  expect(await hup.stop()).toBe(0);
  const term = await starting("term");
  const ended = term.stop();
  process.kill(term.pid, "SIGCONT");
  expect(await ended).toBe(0);
  expect(term.stdout()).toContain('"sensor stopped"');
}, 600_000);

test("a reload with a list file that cannot be read left a sensor that took mails and judged none", async () => {
  const analyzer = await startAnalyzer(place, { queued: "0ms", work: "0ms" });
  const file = join(place.path, "deny.txt");
  writeFileSync(file, "first.example\n");
  const lists = [{ list: "deny", kind: "domain", file }];
  const sensor = await launchSensor(place, { analyzer, config: { triage: { lists } } });
  let sent = 0;
  const verdictOn = async (link: string) => {
    sent += 1;
    const content = `From: a@sender.example\r\nSubject: ${sent}\r\n\r\n${link}\r\n`;
    const mail = { key: String(sent), from: "a@sender.example", to: ["b@example.org"], content };
    expect((await sendMails(sensor.smtpPort, [mail])).refused).toEqual([]);
    const told = () =>
      sensor.log().filter(({ stage, verdict }) => stage === "verdict" && verdict !== undefined);
    return (await waitFor("the verdict", () => told()[sent - 1])).verdict;
  };
  const unchanged = () => reload(sensor, () => {});

  expect(await verdictOn("http://first.example/")).toBe("malicious");
  // As an editor for Windows writes it, and half of a copy.
  writeFileSync(file, Buffer.from("\ufefffirst.example\r\nsecond.example\r\n", "utf16le"));
  expect(await unchanged()).toContain("the old one stays");
  expect(await verdictOn("http://first.example/")).toBe("malicious");
  rmSync(file);
  expect(await unchanged()).toContain("the old one stays");
  expect(await verdictOn("http://second.example/")).toBe("clean");
  writeFileSync(file, "\ufefffirst.example\r\nsecond.example\r\n");
  expect(await unchanged()).toBe("configuration reloaded");
  expect(await verdictOn("http://second.example/")).toBe("malicious");
}, 600_000);
