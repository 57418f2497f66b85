/**
 * A private Postfix: its own configuration, queue and log in the place of a test, nothing of /etc/postfix.
 *
 * It listens on a loopback port, relays for loopback clients, delivers nothing but to `mailboxes` and what `routes`
 * sends somewhere (all else is discarded), and retries within seconds instead of minutes. Needs root, as Postfix does.
 */
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { freePort } from "../../ports.ts";
import { endWithTests, needProgram, type Place, runToEnd, waitFor } from "./place.ts";
import { greeting } from "./smtp.ts";

export type Postfix = {
  readonly port: number;
  /** STARTTLS and TLS from the first byte; 0 where no certificate is given. They relay for who gives the password. */
  readonly submission: number;
  readonly smtps: number;
  /** The mails in the mailbox of an address, as they were delivered, oldest first. */
  mailbox(address: string): readonly Buffer[];
  /** How many mails are in its queue: waiting, being delivered or deferred. */
  queued(): Promise<number>;
  /** Reads its configuration and certificates anew. */
  reload(): Promise<void>;
  /** Tries every deferred mail now. */
  flush(): Promise<void>;
  log(): string;
  stop(): Promise<void>;
};

export type PostfixOptions = {
  /** Where it has to be known before it starts; else a free one. */
  readonly port?: number;
  /** A copy of each mail goes here, as with `always_bcc`. */
  readonly alwaysBcc?: string;
  /** Domain to next hop, like `{ "sensor.test": "smtp:[127.0.0.1]:10025" }`; every other domain is discarded. */
  readonly routes?: Readonly<Record<string, string>>;
  /** Addresses, all of one domain, whose mails are delivered to a mailbox. */
  readonly mailboxes?: readonly string[];
  /** For the ports with TLS. They want the password of `user`, which clients send with this certificate alone. */
  readonly tls?: { readonly cert: string; readonly key: string };
  readonly user?: { readonly name: string; readonly password: string };
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
virtual   unix  - n n -  - virtual
tlsmgr    unix  - - n 1000? 1 tlsmgr
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
    notify_classes: "",
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
    ...mailboxSettings(folder, options.mailboxes ?? []),
    ...(options.tls && {
      smtpd_tls_chain_files: `${options.tls.key}, ${options.tls.cert}`,
      smtpd_tls_loglevel: "1",
    }),
    ...(options.user && {
      smtpd_sasl_local_domain: "mta.test",
    }),
    ...options.settings,
  };
  return Object.entries(settings)
    .map(([key, value]) => `${key} = ${value}\n`)
    .join("");
}

/** Mailboxes belong to nobody, whom Postfix delivers as. */
const NOBODY = 65_534;

function mailboxSettings(folder: string, mailboxes: readonly string[]): Record<string, string> {
  const [first] = mailboxes;
  if (first === undefined) return {};
  // In main.cf a $ is the start of a parameter, and $$ a dollar.
  const maps = mailboxes.map((address) => `{${address} = ${address}/}`.replaceAll("$", "$$$$"));
  return {
    virtual_mailbox_domains: first.slice(first.lastIndexOf("@") + 1),
    virtual_mailbox_base: join(folder, "mailboxes"),
    virtual_mailbox_maps: `inline:{${maps.join(", ")}}`,
    virtual_mailbox_limit: "0",
    virtual_uid_maps: `static:${NOBODY}`,
    virtual_gid_maps: `static:${NOBODY}`,
  };
}

/** A password that Postfix can check: Cyrus SASL, whose configuration Debian's Postfix wants in `sasl/`. */
async function makeUser(
  configuration: string,
  user: NonNullable<PostfixOptions["user"]>,
  owner: number,
): Promise<void> {
  const sasl = join(configuration, "sasl");
  const database = join(sasl, "sasldb2");
  mkdirSync(sasl);
  writeFileSync(
    join(sasl, "smtpd.conf"),
    `pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: ${database}\nmech_list: PLAIN LOGIN\n`,
  );
  const made = await runToEnd(
    [needProgram("saslpasswd2", "sasl2-bin"), "-c", "-p", "-u", "mta.test", "-f", database, user.name],
    { input: user.password },
  );
  if (made.code !== 0) throw new Error(`saslpasswd2 failed: ${made.stderr}`);
  chownSync(database, owner, 0);
}

/** The services with TLS: whoever has the password may relay, nobody else may. */
function secureServices(submission: number, smtps: number, authenticated: boolean): string {
  const asked = authenticated
    ? " -o smtpd_sasl_auth_enable=yes -o smtpd_relay_restrictions=permit_sasl_authenticated,reject"
    : "";
  return [
    `127.0.0.1:${submission} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt${asked}\n`,
    `127.0.0.1:${smtps} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes${asked}\n`,
  ].join("");
}

/** Starts it and waits for its greeting. */
export async function startPostfix(place: Place, options: PostfixOptions = {}): Promise<Postfix> {
  const postfix = needProgram("postfix", "postfix");
  const postqueue = needProgram("postqueue", "postfix");
  if (process.getuid?.() !== 0) throw new Error("a private Postfix has to be started as root");
  const port = options.port ?? (await freePort());
  const submission = options.tls === undefined ? 0 : await freePort();
  const smtps = options.tls === undefined ? 0 : await freePort();
  const folder = join(place.path, `postfix-${port}`);
  const configuration = join(folder, "etc");
  const mailboxes = join(folder, "mailboxes");
  for (const path of [folder, configuration, join(folder, "queue"), join(folder, "data"), mailboxes])
    mkdirSync(path);
  chownSync(mailboxes, NOBODY, NOBODY);
  const { stdout: owner } = await runToEnd(["id", "-u", "postfix"]);
  chownSync(join(folder, "data"), Number(owner), 0);
  if (options.user !== undefined) await makeUser(configuration, options.user, Number(owner));
  writeFileSync(join(configuration, "main.cf"), mainCf(folder, options));
  const secure =
    options.tls === undefined ? "" : secureServices(submission, smtps, options.user !== undefined);
  writeFileSync(
    join(configuration, "master.cf"),
    `127.0.0.1:${port} inet n - n - - smtpd\n${secure}${SERVICES}`,
  );

  const started = await runToEnd([postfix, "-c", configuration, "start"]);
  const log = () => readFileSync(join(folder, "mail.log"), "utf8");
  if (started.code !== 0) throw new Error(`postfix start failed: ${started.stderr}${started.stdout}`);
  const master = Number(readFileSync(join(folder, "queue/pid/master.pid"), "utf8"));
  endWithTests(master);
  let stopped = false;
  const running: Postfix = {
    port,
    submission,
    smtps,
    mailbox(address) {
      const incoming = join(mailboxes, address, "new");
      if (!existsSync(incoming)) return [];
      return readdirSync(incoming)
        .map((name) => join(incoming, name))
        .toSorted((a, b) => statSync(a).mtimeMs - statSync(b).mtimeMs)
        .map((path) => readFileSync(path));
    },
    async queued() {
      const listed = await runToEnd([postqueue, "-c", configuration, "-j"]);
      if (listed.code !== 0) throw new Error(`postqueue failed: ${listed.stderr}`);
      return listed.stdout.split("\n").filter((line) => line.startsWith("{")).length;
    },
    async reload() {
      const done = await runToEnd([postfix, "-c", configuration, "reload"]);
      if (done.code !== 0) throw new Error(`postfix reload failed: ${done.stderr}`);
    },
    async flush() {
      await runToEnd([postqueue, "-c", configuration, "-f"]);
    },
    log,
    async stop() {
      if (stopped) return;
      stopped = true;
      await runToEnd([postfix, "-c", configuration, "stop"]);
    },
  };
  place.onClose(() => running.stop());
  await waitFor("the greeting of Postfix", () => greeting(port));
  return running;
}
