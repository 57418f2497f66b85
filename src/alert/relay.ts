/**
 * The mail relay that takes alerts: one SMTP session an alert, one recipient a session, null return path.
 *
 * With `tls: starttls` TLS is used where the relay offers it, without asking for a certificate that can be verified: as
 * between mail servers (RFC 7435). What fails is told apart: a refusal of this one recipient or message, for good or
 * for now, and everything else, which is a fault of the relay.
 */
import { readFileSync } from "node:fs";
import { createTransport } from "nodemailer";
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
  close(): void;
};

const MAX_CONNECT_MS = 10_000;
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
  const transport = createTransport({
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
    ...(user !== undefined && config.password_file !== undefined
      ? { auth: { user, pass: file(config.password_file).trim() } }
      : {}),
    name: /^[A-Za-z0-9.-]{1,253}$/.test(helo) ? helo : "[127.0.0.1]",
    connectionTimeout: connect,
    greetingTimeout: connect,
    dnsTimeout: connect,
    socketTimeout: config.timeout,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  return {
    async send(message, recipient) {
      try {
        await transport.sendMail({ envelope: { from: "", to: [recipient] }, raw: message });
        return { state: "taken" };
      } catch (thrown) {
        const refusal = readRefusal(thrown);
        if (refusal !== null) return refusal;
        const words = thrown instanceof Error ? thrown.message : String(thrown);
        throw new SensorError("ALERT_UNREACHABLE", readable(words), { cause: thrown });
      }
    },
    close: () => transport.close(),
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
    return { state: "refused", permanent: status >= 500, message };
  }
  // An address that cannot be written in this session, such as a non-ASCII one without SMTPUTF8.
  if (code === "EENVELOPE" && status === undefined) return { state: "refused", permanent: true, message };
  return null;
}

function readable(message: string): string {
  return escapeControls(message.slice(0, MAX_MESSAGE));
}
