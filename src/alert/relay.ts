/**
 * The mail relay that takes alerts: one SMTP session an alert, one recipient a session, null return path.
 *
 * STARTTLS is used where the relay offers it, without asking for a certificate that can be verified: as between
 * mail servers (RFC 7435). What fails is told apart: a refusal of this one recipient or message, for good or for
 * now, and everything else, which is a fault of the relay.
 */
import { createTransport } from "nodemailer";
import { readHostPort } from "../config/address.ts";
import type { AlertConfig } from "../config/schema.ts";
import { SensorError } from "../errors.ts";
import { escapeControls } from "../text.ts";
import type { Alert } from "./compose.ts";

export type RelayAnswer =
  | { readonly state: "taken" }
  | { readonly state: "refused"; readonly permanent: boolean; readonly message: string };

export type Relay = {
  /** Throws SensorError ALERT_UNREACHABLE where the relay itself is at fault. */
  send(alert: Alert, recipient: string): Promise<RelayAnswer>;
  close(): void;
};

const CONNECT_TIMEOUT_MS = 10_000;
const SOCKET_TIMEOUT_MS = 30_000;
const MAX_MESSAGE = 300;

export function createRelay(config: Pick<AlertConfig, "name" | "relay" | "from">, helo: string): Relay {
  const address = readHostPort(config.relay, 1);
  if ("problem" in address) {
    throw new SensorError("CONFIG_INVALID", `alert ${config.name}: relay ${address.problem}`);
  }
  const transport = createTransport({
    host: address.host,
    port: address.port,
    secure: false,
    opportunisticTLS: true,
    tls: { rejectUnauthorized: false },
    name: /^[A-Za-z0-9.-]{1,253}$/.test(helo) ? helo : "[127.0.0.1]",
    connectionTimeout: CONNECT_TIMEOUT_MS,
    greetingTimeout: CONNECT_TIMEOUT_MS,
    dnsTimeout: CONNECT_TIMEOUT_MS,
    socketTimeout: SOCKET_TIMEOUT_MS,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  return {
    async send(alert, recipient) {
      try {
        await transport.sendMail({
          from: { name: "Email sensor", address: config.from },
          to: { name: "", address: recipient },
          envelope: { from: "", to: [recipient] },
          subject: alert.subject,
          text: alert.text,
          messageId: alert.messageId,
          headers: { ...alert.headers },
          disableFileAccess: true,
          disableUrlAccess: true,
        });
        return { state: "taken" };
      } catch (thrown) {
        const refusal = readRefusal(thrown);
        if (refusal !== null) return refusal;
        const message = thrown instanceof Error ? thrown.message : String(thrown);
        throw new SensorError("ALERT_UNREACHABLE", readable(message), { cause: thrown });
      }
    },
    close: () => transport.close(),
  };
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
