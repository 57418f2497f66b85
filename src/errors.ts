/**
 * The one error type of the sensor and the catalogue of its codes.
 *
 * Every fault that reaches a log line, an SMTP reply, a gRPC status or a person carries a code of this
 * catalogue. A fault is temporary unless the catalogue says it is permanent: temporary ones are retried.
 */

type CatalogueEntry = { readonly permanent: boolean; readonly meaning: string; readonly remedy: string };

/** Code to meaning. docs/errors.md is made from it. */
export const CATALOGUE = {
  CONFIG_INVALID: {
    permanent: true,
    meaning: "The configuration file cannot be read or breaks its schema.",
    remedy: "Run `email-sensor check-config --config FILE`: it lists every problem with its position.",
  },
  USAGE: {
    permanent: true,
    meaning: "The command line is not one the command understands.",
    remedy: "Run `email-sensor COMMAND --help`.",
  },
  LISTEN_FAILED: {
    permanent: true,
    meaning: "A listen address cannot be bound.",
    remedy: "Free the port or change the address in the configuration.",
  },
  MAIL_TOO_LARGE: {
    permanent: true,
    meaning: "A mail is larger than `smtp.max_size` and was answered 552.",
    remedy:
      "Raise `smtp.max_size` to at least the limit of the MTA, or the MTA's copies of such mails are lost.",
  },
  SMTP_ABORTED: {
    permanent: false,
    meaning:
      "A client left in the middle of a mail, or sent nothing for `smtp.idle_timeout`; it sends the mail again.",
    remedy: "Nothing, unless it happens all the time: then look at the network and the log of the MTA.",
  },
  SPOOL_FULL: {
    permanent: false,
    meaning: "The disk of the spool is full. Mails are answered 452 and stay in the queue of the MTA.",
    remedy: "Free space on the file system of `spool.path`; the sensor goes on by itself.",
  },
  SPOOL_BUSY: {
    permanent: false,
    meaning: "The spool database is locked by another process.",
    remedy: "Let the other process (a backup, a shell) finish; the sensor goes on by itself.",
  },
  SPOOL_BROKEN: {
    permanent: false,
    meaning: "The spool database cannot be read or written. Mails are answered 451.",
    remedy: "Check the disk and restore the spool; the sensor opens it again by itself.",
  },
  SPOOL_NEWER: {
    permanent: true,
    meaning: "The spool was written by a newer version of the sensor.",
    remedy: "Install that version or a newer one; migrations only go forward.",
  },
  SPOOL_IN_USE: {
    permanent: true,
    meaning: "Another sensor is running on this spool.",
    remedy: "Stop the other sensor, or give this one a `spool.path` of its own.",
  },
  EXTRACT_UNAVAILABLE: {
    permanent: false,
    meaning: "No extraction helper can be started, or too many mails wait for one. The mail is not at fault.",
    remedy: "Check the memory and the process limits of the machine; the sensor goes on by itself.",
  },
  EXTRACT_CRASHED: {
    permanent: false,
    meaning: "An extraction helper died while it took a mail apart.",
    remedy: "The mail is retried; after the last attempt a `mail.failed` event reports it.",
  },
  EXTRACT_TIMEOUT: {
    permanent: false,
    meaning: "Taking a mail apart took longer than `extract.timeout`.",
    remedy: "The mail is retried; after the last attempt a `mail.failed` event reports it.",
  },
  EXTRACT_MEMORY: {
    permanent: false,
    meaning: "Taking a mail apart needed more memory than `extract.memory`.",
    remedy: "The mail is retried; after the last attempt a `mail.failed` event reports it.",
  },
  EXTRACT_FAILED: {
    permanent: false,
    meaning: "A mail could not be taken apart.",
    remedy: "The mail is retried; after the last attempt a `mail.failed` event reports it.",
  },
  VMRAY_AUTH: {
    permanent: false,
    meaning: "VMRay refuses the API key (401 or 403).",
    remedy: "Check `vmray.api_key_file` and the rights of the key's user; a new key counts after a reload.",
  },
  VMRAY_UNREACHABLE: {
    permanent: false,
    meaning: "The VMRay server cannot be reached or does not answer in time.",
    remedy: "Check `vmray.url`, the network and the certificate; work waits and goes on by itself.",
  },
  VMRAY_THROTTLED: {
    permanent: false,
    meaning: "VMRay asks to send fewer requests (429).",
    remedy: "None needed: the sensor waits as long as VMRay asks.",
  },
  VMRAY_ANSWER: {
    permanent: false,
    meaning: "VMRay answered with something that is not its API.",
    remedy: "Check that `vmray.url` is the VMRay server itself and no login page or proxy.",
  },
  VMRAY_REFUSED: {
    permanent: true,
    meaning: "VMRay refused a submission (quota, unsupported type, size).",
    remedy: "See the reason in the event; the verdict of this part stays `not_available`.",
  },
  SIEM_UNREACHABLE: {
    permanent: false,
    meaning: "A SIEM destination cannot be reached or does not take events. Its events wait in the outbox.",
    remedy: "Check the destination; events are sent in order when it is back.",
  },
  SIEM_REFUSED: {
    permanent: true,
    meaning: "A SIEM refused one event for good (its form or size). The event was passed, the others go on.",
    remedy: "See the reason; mend the index or the format and send again with `email-sensor replay`.",
  },
  ALERT_REFUSED: {
    permanent: true,
    meaning: "The mail relay refused an alert for good (5xx), or did not take it for a day.",
    remedy: "Check `alerts[].relay`, the sender and the recipients.",
  },
  ALERT_UNREACHABLE: {
    permanent: false,
    meaning: "The mail relay cannot be reached or refuses for now.",
    remedy: "Check `alerts[].relay`; alerts wait in the outbox.",
  },
  TEMPLATE_FAILED: {
    permanent: true,
    meaning: "A template could not be rendered for an event; the event was sent as JSON instead.",
    remedy: "Check the template with the event named in the log line.",
  },
  CONTROL_UNREACHABLE: {
    permanent: false,
    meaning: "The control service of the sensor cannot be reached.",
    remedy: "Start the sensor, or name its address with --address.",
  },
  CONTROL_REFUSED: {
    permanent: true,
    meaning: "The control service of the sensor refused a call.",
    remedy: "See the message; where it is about the token, name its file with --token-file.",
  },
  INTERNAL: {
    permanent: false,
    meaning: "A fault nobody has named yet.",
    remedy: "Report it with the log line.",
  },
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof CATALOGUE;

/** A fault with a code of {@link CATALOGUE}; `cause` keeps what was thrown below. */
export class SensorError extends Error {
  override readonly name = "SensorError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }

  get permanent(): boolean {
    return CATALOGUE[this.code].permanent;
  }
}

/** For a file that may be gone already: throws again whatever else was thrown. */
export function ignoreMissing(thrown: unknown): void {
  if (!(thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT")) throw thrown;
}

const FILE_FAULTS: Readonly<Record<string, string>> = {
  ENOENT: "does not exist",
  ENOTDIR: "does not exist",
  EACCES: "may not be read by this user",
  EPERM: "may not be read by this user",
  EISDIR: "is a folder",
  ELOOP: "is a symbolic link to itself",
  ENAMETOOLONG: "has too long a name",
};

/** Why the system did not let a file be read, in words that complete "PATH ..."; null for any other fault. */
export function fileFault(thrown: unknown): string | null {
  if (thrown instanceof SensorError || !(thrown instanceof Error && "code" in thrown)) return null;
  const code = String(thrown.code);
  return Object.hasOwn(FILE_FAULTS, code)
    ? (FILE_FAULTS[code] ?? null)
    : `cannot be read (${code.slice(0, 40)})`;
}

/** Any thrown value as a SensorError; what has no code yet becomes INTERNAL. */
export function asSensorError(thrown: unknown): SensorError {
  if (thrown instanceof SensorError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new SensorError("INTERNAL", message, { cause: thrown });
}
