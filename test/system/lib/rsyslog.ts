/**
 * A private rsyslog as the SIEM: takes RFC 5424 over UDP and TCP (octet counting) and writes two files, one line a
 * message: the MSG part alone, and the header fields as JSON.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { freePort } from "../../ports.ts";
import { needProgram, type Place, type Started, start, waitFor } from "./place.ts";

export type SyslogHeader = {
  readonly pri: string;
  readonly time: string;
  readonly host: string;
  readonly app: string;
  readonly procid: string;
  readonly msgid: string;
  readonly data: string;
};

export type Rsyslog = {
  readonly tcpPort: number;
  readonly udpPort: number;
  /** The MSG parts in the order of arrival, whole lines only. */
  messages(): readonly string[];
  headers(): readonly SyslogHeader[];
  stop(): Promise<void>;
  /** Starts it again on the same ports, appending to the same files. */
  restart(): Promise<void>;
};

function configuration(folder: string, tcpPort: number, udpPort: number): string {
  const header = ["pri", "time", "host", "app", "procid", "msgid", "data"]
    .map((name, at) => {
      const property = [
        'name="pri"',
        'name="timereported" dateFormat="rfc3339"',
        'name="hostname"',
        'name="app-name"',
        'name="procid"',
        'name="msgid"',
        'name="structured-data"',
      ][at];
      return `property(${property} format="jsonf" outname="${name}")`;
    })
    .join(' constant(value=",") ');
  return `
global(workDirectory="${folder}" maxMessageSize="8m" net.enableDNS="off")
module(load="imudp")
module(load="imtcp" maxFrameSize="8388608" keepAlive="on")
template(name="message" type="list") { property(name="msg") constant(value="\\n") }
template(name="header" type="list") { constant(value="{") ${header} constant(value="}\\n") }
ruleset(name="siem") {
  action(type="omfile" file="${folder}/messages" template="message" asyncWriting="off" flushOnTXEnd="on")
  action(type="omfile" file="${folder}/headers" template="header" asyncWriting="off" flushOnTXEnd="on")
}
input(type="imudp" address="127.0.0.1" port="${udpPort}" ruleset="siem" rcvbufSize="8m")
input(type="imtcp" address="127.0.0.1" port="${tcpPort}" ruleset="siem" supportOctetCountedFraming="on")
`;
}

function wholeLines(path: string): string[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, "utf8").split("\n");
  lines.pop();
  return lines;
}

async function answers(port: number): Promise<true | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.once("connect", () => resolve(true));
    socket.once("error", () => resolve(undefined));
    socket.once("connect", () => socket.destroy());
  });
}

/** Starts it and waits until it takes connections. */
export async function startRsyslog(place: Place): Promise<Rsyslog> {
  const program = needProgram("rsyslogd", "rsyslog");
  const [tcpPort, udpPort] = [await freePort(), await freePort()];
  const folder = join(place.path, `rsyslog-${tcpPort}`);
  mkdirSync(folder);
  const file = join(folder, "rsyslog.conf");
  writeFileSync(file, configuration(folder, tcpPort, udpPort));

  const launch = async (): Promise<Started> => {
    const started = start(place, `rsyslog-${tcpPort}`, [
      program,
      "-n",
      "-f",
      file,
      "-i",
      join(folder, "pid"),
    ]);
    await waitFor("rsyslog to listen", () => {
      if (started.exitCode() !== null) throw new Error(`rsyslog ended: ${started.stderr()}`);
      return answers(tcpPort);
    });
    return started;
  };
  let running = await launch();
  return {
    tcpPort,
    udpPort,
    messages: () => wholeLines(join(folder, "messages")),
    headers: () => wholeLines(join(folder, "headers")).map((line) => JSON.parse(line) as SyslogHeader),
    async stop() {
      await running.stop();
    },
    async restart() {
      await running.stop();
      running = await launch();
    },
  };
}
