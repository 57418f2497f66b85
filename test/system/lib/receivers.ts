/**
 * Private rsyslog and syslog-ng as receivers, with the very configuration that docs/receivers/ gives to users: only
 * ports, addresses and paths are replaced.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { freePort } from "../../ports.ts";
import type { Certificates } from "../../unit/report/certificates.ts";
import { needProgram, type Place, type Started, signalQuietly, start, waitFor } from "./place.ts";

export type Input = "udp" | "tcp" | "tls" | "relp" | "relps";

export type Receiver = {
  readonly ports: Readonly<Record<Input, number>>;
  /** The file it writes, a line a message. */
  readonly path: string;
  /** Whole lines in the order of arrival. */
  lines(): readonly string[];
  /** Stops it as SIGSTOP does, or lets it go on: a receiver that is there and reads nothing. */
  freeze(frozen: boolean): void;
  kill(signal?: "SIGTERM" | "SIGKILL"): Promise<void>;
  /** Starts it again with the same ports and files. */
  start(): Promise<void>;
};

const DOCUMENTED: Readonly<Record<Input, number>> = {
  udp: 514,
  tcp: 601,
  tls: 6514,
  relp: 2514,
  relps: 2515,
};
/** rsyslog and syslog-ng cannot be installed beside each other: .ci/run unpacks this one. */
const SYSLOG_NG = "/opt/syslog-ng/usr";

/** The certificates are for siem.example.org and sensor.example.org. Waits until it takes connections. */
export async function startReceiver(
  place: Place,
  kind: "rsyslog" | "syslog-ng",
  certificates: Certificates,
): Promise<Receiver> {
  const ports = {
    udp: await freePort(),
    tcp: await freePort(),
    tls: await freePort(),
    relp: await freePort(),
    relps: await freePort(),
  };
  const folder = join(place.path, `${kind}-${ports.tcp}`);
  mkdirSync(folder);
  const path = join(folder, "events.json");
  let text = readFileSync(join(import.meta.dir, `../../../docs/receivers/${kind}.conf`), "utf8")
    .replaceAll("/etc/ssl/siem", certificates.folder)
    .replaceAll("/var/log/email-sensor/events.json", path)
    .replaceAll("0.0.0.0", "127.0.0.1")
    .replace("global(", `global(workDirectory="${folder}"`);
  for (const [name, port] of Object.entries(DOCUMENTED)) {
    const own = ports[name as Input];
    text = text.replaceAll(`port="${port}"`, `port="${own}" address="127.0.0.1"`);
    text = text.replaceAll(`port(${port})`, `port(${own})`);
  }
  const file = join(folder, `${kind}.conf`);
  writeFileSync(file, text);
  const rsyslog = [needProgram("rsyslogd", "rsyslog"), "-n", "-f", file, "-i", join(folder, "pid")];
  const syslogNg = [
    ...[`${SYSLOG_NG}/sbin/syslog-ng`, "-F", "--no-caps", "-f", file, "-R", join(folder, "persist")],
    ...[
      "-p",
      join(folder, "pid"),
      "-c",
      join(folder, "ctl"),
      "--module-path",
      `${SYSLOG_NG}/lib/syslog-ng/3.38`,
    ],
  ];
  if (kind === "syslog-ng" && !existsSync(syslogNg[0] ?? "")) {
    throw new Error("this test needs syslog-ng-core unpacked at /opt/syslog-ng: see .ci/run");
  }
  const command = kind === "rsyslog" ? rsyslog : syslogNg;
  const awaited = kind === "rsyslog" ? [ports.tcp, ports.tls, ports.relp] : [ports.tcp, ports.tls];
  let lives = 0;
  const launch = async (): Promise<Started> => {
    lives += 1;
    const started = start(place, `${kind}-${ports.tcp}-${lives}`, command, {
      LD_LIBRARY_PATH: `${SYSLOG_NG}/lib/syslog-ng`,
    });
    await waitFor(`${kind} to listen`, async () => {
      if (started.exitCode() !== null)
        throw new Error(`${kind} ended: ${started.stderr()}${started.stdout()}`);
      const open = await Promise.all(awaited.map(answers));
      return open.includes(false) ? undefined : true;
    });
    return started;
  };
  let running = await launch();
  return {
    ports,
    path,
    lines: () => {
      const lines = existsSync(path) ? readFileSync(path, "utf8").split("\n") : [];
      lines.pop();
      return lines;
    },
    freeze: (frozen) => signalQuietly(running.pid, frozen ? "SIGSTOP" : "SIGCONT"),
    async kill(signal = "SIGTERM") {
      await running.stop(signal);
    },
    async start() {
      running = await launch();
    },
  };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
