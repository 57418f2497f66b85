/** `vmray`: the analyzer that is asked. */
import { z } from "zod";
import { readServerUrl } from "../address.ts";
import { noted } from "../note.ts";
import { choice, duration, flag, key, path, printable, rule, text, wait, when, whole } from "./kinds.ts";

/** What VMRay takes as `retention_period`. */
const RETENTION_DAYS: readonly number[] = [0, 60, 120, 180, 360];

export const vmraySection = z
  .strictObject({
    url: key(
      "Address of the server. Without a scheme https is taken; a trailing `/rest` is taken off.",
      text("URL", readServerUrl),
      { example: "https://eu.cloud.vmray.com" },
    ),
    api_key_file: key(
      "File with the API key, one line. Either this or `api_key`.",
      path("secret").optional(),
      {
        example: "/etc/email-sensor/vmray.key",
      },
    ),
    api_key: key(
      "The API key itself, best from the environment. Either this or `api_key_file`.",
      printable(4096).optional(),
      // biome-ignore lint/suspicious/noTemplateCurlyInString: the placeholder of the configuration file
      { alternative: true, example: "${VMRAY_API_KEY}" },
    ),
    ca_file: key(
      "Certificates to trust beside those of the system, PEM: the way to go for a server with a certificate of its own.",
      path("certificate").optional(),
      { example: "tls/vmray-ca.crt" },
    ),
    tls_verify: key(
      "Check the certificate of the server. Prefer `ca_file` to switching this off.",
      flag().prefault(true),
    ),
    concurrency: key("Analyses and requests in work at the same time.", whole(1, 256).prefault(8)),
    request_timeout: key("Longest wait for the answer to a request.", wait().prefault("30s")),
    upload_timeout: key("Longest time for one submission, upload included.", wait().prefault("5m")),
    poll_interval: key("Time between two looks at a submission that is not finished.", wait().prefault("5s")),
    give_up_after: key(
      "A content that is not judged by then is `not_available`.",
      duration("1ms", "365d").prefault("1h"),
    ),
    analysis_timeout: key(
      "Run time of a dynamic analysis, handed to VMRay.",
      duration("1s", "1d").optional(),
      {
        fallback: "set in VMRay",
        example: "2m",
      },
    ),
    analyzer_mode: key(
      "What a dynamic analysis is made of.",
      choice(["reputation_static_dynamic", "static_dynamic"]).optional(),
      { fallback: "set in VMRay", example: "reputation_static_dynamic" },
    ),
    caching: key(
      "Whether VMRay answers with an analysis that it made before (`analysis_caching`); `vmray` leaves it to the settings of the API key.",
      choice(["smart", "enabled", "disabled", "legacy", "vmray"]).prefault("smart"),
    ),
    known_benign: key(
      "Whether VMRay stops where reputation or static analysis knows a content to be harmless, which saves quota; `vmray` leaves it to the settings of the API key.",
      choice(["stop", "continue", "vmray"]).prefault("stop"),
    ),
    known_malicious: key(
      "The same for what is known to be malicious: `continue` costs quota and tells more of what it does.",
      choice(["stop", "continue", "vmray"]).prefault("stop"),
    ),
    archive_action: key(
      "How VMRay takes an archive: as one sample, as one of which a member is started, or each member by itself.",
      choice(["sample", "compound_sample", "separate_samples"]).optional(),
      { fallback: "set in VMRay", example: "separate_samples" },
    ),
    max_jobs: key("Most analyses of one submission.", whole(1, 100).optional(), {
      fallback: "set in VMRay",
      example: 2,
    }),
    shareable: key("Whether VMRay may show the hash of a file to VirusTotal.", flag().prefault(false)),
    retention_period: key(
      "Days that VMRay keeps a submission; 0 keeps it for ever.",
      noted(
        z.int().refine((days) => RETENTION_DAYS.includes(days), "must be 0, 60, 120, 180 or 360"),
        { kind: "`0`, `60`, `120`, `180` or `360`" },
      ).optional(),
      { fallback: "set in VMRay", example: 60 },
    ),
    tags: key(
      "Tags of each submission. Servers before 2026.2 take letters, digits, - and _ only.",
      z
        .array(
          noted(z.string().regex(/^[^,\p{C}]{1,255}$/u, "must be 1 to 255 characters, no comma"), {
            kind: "text",
          }),
        )
        .max(50)
        .prefault(["email_sensor"]),
    ),
    cache: key(
      "How long a verdict serves later mails with the same content before VMRay is asked again.",
      z
        .strictObject({
          malicious: key("A malicious verdict.", duration("0s", "3650d").prefault("7d")),
          suspicious: key("A suspicious verdict.", duration("0s", "3650d").prefault("1d")),
          clean: key("A clean verdict.", duration("0s", "3650d").prefault("4h")),
        })
        .prefault({}),
    ),
  })
  .check(
    rule(({ api_key, api_key_file }) => [
      ...when(api_key === undefined && api_key_file === undefined, "", "needs api_key_file (or api_key)"),
      ...when(
        api_key !== undefined && api_key_file !== undefined,
        "api_key",
        "conflicts with api_key_file: keep one of the two",
      ),
    ]),
  );
