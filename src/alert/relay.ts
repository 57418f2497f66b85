/**
 * The mail relay that takes alerts: one SMTP session an alert, one recipient a session, null return path.
 *
 * With `tls: starttls` TLS is used where the relay offers it, without asking for a certificate that can be verified: as
 * between mail servers (RFC 7435). What fails is told apart: a refusal of this one recipient or message, for good or
 * for now, and everything else, which is a fault of the relay. Each step has its time: a relay may look at a whole
 * message for long before it answers, and who hangs up meanwhile sends it twice (RFC 5321 section 4.5.3.2.6).
 */
import { readFileSync } from "node:fs";
import { Readable } from "node:stream";
import SMTPConnection from "nodemailer/lib/smtp-connection";
import { readHostPort } from "../config/address.ts";
import type { AlertConfig } from "../config/schema.ts";
import { SensorError } from "../errors.ts";
import { escapeControls } from "../text.ts";

export type RelayAnswer =
  | { readonly state: "taken" }
  | { readonly state: "refused"; readonly permanent: boolean; readonly message: string };

export type Relay = {
  /** `message` is a whole mail. Throws SensorError ALERT_UNREACHABLE where the relay itself is at fault. */
  send(message: Buffer, recipient: string): Promise<RelayAnswer>;
  /** Ends what is being sent: it is not known then whether the relay took it. */
  close(): void;
};

const MAX_CONNECT_MS = 10_000;
/** For the answer to a whole message (RFC 5321 section 4.5.3.2.6). */
const TAKING_MS = 10 * 60_000;
/**
 * Answers up to that one, each of which may take the time-out: the greeting, to EHLO, STARTTLS, EHLO and two steps of
 * AUTH; to MAIL, RCPT and DATA. A relay that says a line now and then ends with their time.
 */
const ANSWERS_BEFORE_ENVELOPE = 6;
const ANSWERS_OF_ENVELOPE = 3;
const GOODBYE_MS = 2000;
const MAX_MESSAGE = 300;

export type RelayConfig = Pick<
  AlertConfig,
  "name" | "relay" | "tls" | "tls_verify" | "ca_file" | "user" | "password_file" | "timeout"
>;

export function createRelay(config: RelayConfig, helo: string): Relay {
  const address = readHostPort(config.relay, 1);
  if ("problem" in address) {
    throw new SensorError("CONFIG_INVALID", `alert ${config.name}: relay ${address.problem}`);
  }
  const { tls, user } = config;
  const file = (path: string) => readConfigFile(config.name, path);
  const verify =
    config.tls_verify ?? (tls === "required" || tls === "implicit" || config.ca_file !== undefined);
  const connect = Math.min(config.timeout, MAX_CONNECT_MS);
  const options: SMTPConnection.Options = {
    host: address.host,
    port: address.port,
    secure: tls === "implicit",
    ignoreTLS: tls === "none",
    requireTLS: tls === "required",
    opportunisticTLS: tls === "starttls",
    tls: {
      rejectUnauthorized: verify,
      ...(config.ca_file === undefined ? {} : { ca: file(config.ca_file) }),
    },
    name: /^[A-Za-z0-9.-]{1,253}$/.test(helo) ? helo : "[127.0.0.1]",
    connectionTimeout: connect,
    greetingTimeout: connect,
    dnsTimeout: connect,
    socketTimeout: config.timeout,
    socketCloseTimeout: GOODBYE_MS,
  };
  const auth =
    user !== undefined && config.password_file !== undefined
      ? { user, pass: file(config.password_file).trim() }
      : null;
  const open = new Set<(why: Error) => void>();

  const session = (message: Buffer, recipient: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const connection = new SMTPConnection(options);
      let timer: Timer | undefined;
      const within = (milliseconds: number, what: string) => {
        clearTimeout(timer);
        timer = setTimeout(() => fail(new Error(`no answer ${what}`)), milliseconds);
      };
      const fail = (why: Error) => {
        clearTimeout(timer);
        open.delete(fail);
        connection.close();
        reject(why);
      };
      const taken = () => {
        clearTimeout(timer);
        open.delete(fail);
        connection.quit();
        setTimeout(() => connection.close(), GOODBYE_MS).unref();
        resolve();
      };
      const post = () => {
        const whole = Readable.from([message], { objectMode: false });
        whole.once("end", () => {
          if (connection._socket) connection._socket.setTimeout(TAKING_MS);
          within(TAKING_MS, "to the whole message");
        });
        within(ANSWERS_OF_ENVELOPE * config.timeout, "to the envelope");
        connection.send({ from: "", to: [recipient] }, whole, (error) => (error ? fail(error) : taken()));
      };
      open.add(fail);
      connection.on("error", fail);
      within(ANSWERS_BEFORE_ENVELOPE * config.timeout, "while the session was set up");
      connection.connect((error) => {
        if (error) fail(error);
        else if (auth === null) post();
        // Not without it: what a relay does not take of strangers it refuses for good, recipient by recipient.
        else if (!connection.allowsAuth) fail(new Error("the relay offers no authentication"));
        else connection.login({ ...auth }, (refusal) => (refusal ? fail(refusal) : post()));
      });
    });

  return {
    async send(message, recipient) {
      try {
        await session(message, recipient);
        return { state: "taken" };
      } catch (thrown) {
        const refusal = readRefusal(thrown);
        if (refusal !== null) return refusal;
        const words = thrown instanceof Error ? thrown.message : String(thrown);
        throw new SensorError("ALERT_UNREACHABLE", readable(words), { cause: thrown });
      }
    },
    close() {
      for (const fail of open) fail(new Error("the sensor stops"));
    },
  };
}

function readConfigFile(alert: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (thrown) {
    throw new SensorError("CONFIG_INVALID", `alert ${alert}: cannot read ${path}`, { cause: thrown });
  }
}

/** The relay's answer to RCPT or to the message; null for anything that concerns more than this one alert. */
function readRefusal(thrown: unknown): Extract<RelayAnswer, { state: "refused" }> | null {
  if (!(thrown instanceof Error)) return null;
  const code = "code" in thrown ? thrown.code : undefined;
  const command = "command" in thrown ? thrown.command : undefined;
  const status = "responseCode" in thrown ? thrown.responseCode : undefined;
  const message = readable(thrown.message);
  if (typeof status === "number" && (command === "RCPT TO" || command === "DATA")) {
    // 421 closes the session whatever it answers (RFC 5321 section 3.8); 503 is about the session too.
    if (status === 421 || status === 503) return null;
    return { state: "refused", permanent: status >= 500 && !deniesUs(command, thrown.message), message };
  }
  // An address that cannot be written in this session, such as a non-ASCII one without SMTPUTF8.
  if (code === "EENVELOPE" && status === undefined) return { state: "refused", permanent: true, message };
  return null;
}

/**
 * True where the relay refuses not the recipient but this client (RFC 3463 section 3.8): it relays for us no more, or
 * wants a password. That is mended at the relay, and no alert should be lost for it meanwhile.
 */
function deniesUs(command: string, message: string): boolean {
  return command === "RCPT TO" && /\b5\d\d[ -]5\.7\.\d/.test(message);
}

function readable(message: string): string {
  return escapeControls(message.slice(0, MAX_MESSAGE));
}
