/**
 * A private Postfix: its own configuration, queue and log in the place of a test, nothing of /etc/postfix.
 *
 * It listens on a loopback port, relays for loopback clients, delivers nothing but what `postfixRoutes` sends
 * somewhere (all else is discarded), and retries within seconds instead of minutes. Needs root, as Postfix does.
 */
import { chownSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { endWithTests, freePort, needProgram, type Place, runToEnd, waitFor } from "./place.ts";
import { greeting } from "./smtp.ts";

export type Postfix = {
  readonly port: number;
  /** How many mails are in its queue: waiting, being delivered or deferred. */
  queued(): Promise<number>;
  /** Tries every deferred mail now. */
  flush(): Promise<void>;
  log(): string;
  stop(): Promise<void>;
};

export type PostfixOptions = {
  /** A copy of each mail goes here, as with `always_bcc`. */
  readonly alwaysBcc?: string;
  /** Domain to next hop, like `{ "sensor.test": "smtp:[127.0.0.1]:10025" }`; every other domain is discarded. */
  readonly routes?: Readonly<Record<string, string>>;
  /** More lines for main.cf; they win over the ones here. */
  readonly settings?: Readonly<Record<string, string>>;
};

const SERVICES = `
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n -  0 cleanup
qmgr      unix  n - n 1  1 qmgr
rewrite   unix  - - n -  - trivial-rewrite
bounce    unix  - - n -  0 bounce
defer     unix  - - n -  0 bounce
trace     unix  - - n -  0 bounce
verify    unix  - - n -  1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n -  - proxymap
proxywrite unix - - n -  1 proxymap
smtp      unix  - - n -  - smtp
showq     unix  n - n -  - showq
error     unix  - - n -  - error
retry     unix  - - n -  - error
discard   unix  - - n -  - discard
anvil     unix  - - n -  1 anvil
scache    unix  - - n -  1 scache
postlog   unix-dgram n - n - 1 postlogd
`;

function mainCf(folder: string, options: PostfixOptions): string {
  const routes = Object.entries(options.routes ?? {}).map(([domain, hop]) => `{${domain} = ${hop}}`);
  const settings: Record<string, string> = {
    compatibility_level: "3.6",
    queue_directory: join(folder, "queue"),
    data_directory: join(folder, "data"),
    maillog_file: join(folder, "mail.log"),
    maillog_file_prefixes: folder,
    myhostname: "mta.test",
    mydestination: "",
    local_recipient_maps: "",
    alias_maps: "",
    alias_database: "",
    inet_interfaces: "127.0.0.1",
    inet_protocols: "ipv4",
    mynetworks: "127.0.0.0/8",
    smtpd_relay_restrictions: "permit_mynetworks, reject",
    smtpd_client_connection_count_limit: "0",
    smtpd_peername_lookup: "no",
    smtputf8_enable: "yes",
    default_process_limit: "200",
    message_size_limit: "104857600",
    mailbox_size_limit: "0",
    default_transport: "discard",
    relay_transport: "discard",
    transport_maps: routes.length === 0 ? "" : `inline:{${routes.join(", ")}}`,
    smtp_dns_support_level: "disabled",
    always_bcc: options.alwaysBcc ?? "",
    queue_run_delay: "1s",
    minimal_backoff_time: "1s",
    maximal_backoff_time: "3s",
    smtp_destination_concurrency_failed_cohort_limit: "0",
    in_flow_delay: "0",
    ...options.settings,
  };
  return Object.entries(settings)
    .map(([key, value]) => `${key} = ${value}\n`)
    .join("");
}

/** Starts it and waits for its greeting. */
export async function startPostfix(place: Place, options: PostfixOptions = {}): Promise<Postfix> {
  const postfix = needProgram("postfix", "postfix");
  const postqueue = needProgram("postqueue", "postfix");
  if (process.getuid?.() !== 0) throw new Error("a private Postfix has to be started as root");
  const port = await freePort();
  const folder = join(place.path, `postfix-${port}`);
  const configuration = join(folder, "etc");
  for (const path of [folder, configuration, join(folder, "queue"), join(folder, "data")]) mkdirSync(path);
  const { stdout: owner } = await runToEnd(["id", "-u", "postfix"]);
  chownSync(join(folder, "data"), Number(owner), 0);
  writeFileSync(join(configuration, "main.cf"), mainCf(folder, options));
  writeFileSync(join(configuration, "master.cf"), `127.0.0.1:${port} inet n - n - - smtpd${SERVICES}`);

  const started = await runToEnd([postfix, "-c", configuration, "start"], { seconds: 30 });
  const log = () => readFileSync(join(folder, "mail.log"), "utf8");
  if (started.code !== 0) throw new Error(`postfix start failed: ${started.stderr}${started.stdout}`);
  const master = Number(readFileSync(join(folder, "queue/pid/master.pid"), "utf8"));
  endWithTests(master);
  let stopped = false;
  const running: Postfix = {
    port,
    async queued() {
      const listed = await runToEnd([postqueue, "-c", configuration, "-j"]);
      if (listed.code !== 0) throw new Error(`postqueue failed: ${listed.stderr}`);
      return listed.stdout.split("\n").filter((line) => line.startsWith("{")).length;
    },
    async flush() {
      await runToEnd([postqueue, "-c", configuration, "-f"]);
    },
    log,
    async stop() {
      if (stopped) return;
      stopped = true;
      await runToEnd([postfix, "-c", configuration, "stop"], { seconds: 30 });
    },
  };
  place.onClose(() => running.stop());
  await waitFor("the greeting of Postfix", () => greeting(port), 15);
  return running;
}
