/** `vmray`: the analyzer that is asked. */
import { z } from "zod";
import { readDirectHost, readProxyUrl, readServerUrl } from "../address.ts";
import { noted } from "../note.ts";
import {
  type Conflict,
  choice,
  destinationName,
  duration,
  flag,
  key,
  path,
  printable,
  rule,
  text,
  type Unchecked,
  wait,
  when,
  whole,
} from "./kinds.ts";

/** What VMRay takes as `retention_period`. */
const RETENTION_DAYS: readonly number[] = [0, 60, 120, 180, 360];

/** How one VMRay server is reached. */
const connectionKeys = {
  url: key(
    "Address of the server. Without a scheme https is taken; a trailing `/rest` is taken off.",
    text("URL", readServerUrl),
    { example: "https://eu.cloud.vmray.com" },
  ),
  api_key_file: key("File with the API key, one line. Either this or `api_key`.", path("secret").optional(), {
    example: "/etc/email-sensor/vmray.key",
  }),
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
  client_cert_file: key(
    "Certificate of the sensor and its chain, PEM, for a server that wants one.",
    path("certificate").optional(),
    { example: "tls/sensor.crt" },
  ),
  client_key_file: key("Its private key, PEM, without a passphrase.", path("private key").optional(), {
    example: "tls/sensor.key",
  }),
  proxy: key(
    "HTTP proxy on the way to the server: `http://[USER:PASSWORD@]HOST:PORT`, or https. For an https server it only passes on (CONNECT).",
    text("URL of a proxy", readProxyUrl).optional(),
    {
      fallback:
        "`HTTPS_PROXY` (`HTTP_PROXY` for an http server, else `ALL_PROXY`) and `NO_PROXY` of the environment",
      example: "http://sensor@proxy.example.org:3128",
    },
  ),
  proxy_password_file: key(
    "File with the password of the user named in `proxy`, one line.",
    path("secret").optional(),
    { example: "/etc/email-sensor/proxy.password" },
  ),
  no_proxy: key(
    "Servers that are reached without any proxy: domains with all below them, addresses and networks.",
    z.array(text("domain or network", readDirectHost)).max(100).prefault([]),
    { example: ["example.org", "10.0.0.0/8"] },
  ),
};

/** What keys of a connection want of each other. */
function connectionConflicts(section: Unchecked): readonly Conflict[] {
  const { api_key, api_key_file, client_cert_file, client_key_file, proxy, proxy_password_file } = section;
  const user = typeof proxy === "string" ? /^[a-z]+:\/\/([^/@]*)@/.exec(proxy)?.[1] : undefined;
  return [
    ...when(api_key === undefined && api_key_file === undefined, "", "needs api_key_file (or api_key)"),
    ...when(
      api_key !== undefined && api_key_file !== undefined,
      "api_key",
      "conflicts with api_key_file: keep one of the two",
    ),
    ...when(
      client_cert_file !== undefined && client_key_file === undefined,
      "client_cert_file",
      "needs client_key_file",
    ),
    ...when(
      client_cert_file === undefined && client_key_file !== undefined,
      "client_key_file",
      "needs client_cert_file",
    ),
    ...when(
      proxy_password_file !== undefined && user === undefined,
      "proxy_password_file",
      "needs a user in proxy: http://USER@HOST:PORT",
    ),
    ...when(
      proxy_password_file !== undefined && user?.includes(":") === true,
      "proxy_password_file",
      "conflicts with the password in proxy: keep one of the two",
    ),
  ];
}

/** How many submissions one analyzer may get. */
const budgetKey = () =>
  key(
    "How many submissions may be made. Where there is none left, contents are only looked up, and the verdict says so.",
    z
      .strictObject({
        per_day: key(
          "Analyses a day, from 00:00 UTC on, as VMRay counts them (`submission_consumed_quota`).",
          whole(0, 1_000_000_000).optional(),
          {
            fallback: "no limit",
            example: 500,
          },
        ),
        reserve: key("Percent of it that is kept for high priority.", whole(0, 100).prefault(10)),
        per_mail: key(
          "Percent of `per_day` that one mail may use, one analysis at least, so that no mail with hundreds of links uses up the day. What goes beyond is treated as if the budget were used up.",
          whole(1, 100).prefault(20),
        ),
        count_reputation: key(
          "Whether submissions for the reputation alone count. `false` where they cost nothing: then they go on, in place of analyses too, when the budget is used up.",
          flag().prefault(true),
        ),
      })
      .prefault({}),
  );

const concurrencyKey = () =>
  key("Analyses and requests in work at the same time.", whole(1, 256).prefault(8));

/** One more analyzer. What is not here is as in the section itself. */
const furtherAnalyzer = z
  .strictObject({
    name: key(
      "Name of the analyzer, in rules, events and logs; that of the section itself is `default`.",
      destinationName(),
      { example: "cloud" },
    ),
    ...connectionKeys,
    concurrency: concurrencyKey(),
    budget: budgetKey(),
  })
  .check(rule(connectionConflicts));

const nameOf = (entry: unknown): unknown =>
  typeof entry === "object" && entry !== null ? Reflect.get(entry, "name") : undefined;

/** Names of all analyzers of an unchecked `vmray` section; what is no name stands as it is. */
export function analyzerNames(section: Unchecked): readonly unknown[] {
  const entries: readonly unknown[] = Array.isArray(section.analyzers) ? section.analyzers : [];
  return ["default", ...entries.map(nameOf)];
}

function analyzerConflicts(section: Unchecked): readonly Conflict[] {
  const names = analyzerNames(section);
  const fallback: readonly unknown[] = Array.isArray(section.fallback) ? section.fallback : [];
  const double = names.flatMap((name, index): readonly Conflict[] => {
    if (typeof name !== "string" || names.indexOf(name) === index) return [];
    const whose = names.indexOf(name) === 0 ? "the analyzer of the section itself" : "an earlier entry";
    return [{ path: ["analyzers", index - 1, "name"], message: `is the name of ${whose} already` }];
  });
  const wrong = fallback.flatMap((name, index): readonly Conflict[] => {
    const path = ["fallback", index];
    if (typeof name !== "string") return [];
    if (!names.includes(name)) return [{ path, message: NO_ANALYZER }];
    return fallback.indexOf(name) < index ? [{ path, message: "is in the list twice" }] : [];
  });
  return [...double, ...wrong];
}

/** Of a name that is neither `default` nor in `vmray.analyzers`. */
export const NO_ANALYZER = "is the name of no analyzer: see vmray.analyzers";

export const vmraySection = z
  .strictObject({
    ...connectionKeys,
    concurrency: concurrencyKey(),
    request_timeout: key("Longest wait for the answer to a request.", wait().prefault("30s")),
    upload_timeout: key("Longest time for one submission, upload included.", wait().prefault("5m")),
    resend_after: key(
      "How long a submission that got no answer (time-out, reset, gateway) is looked for before it is sent again: what lies between may pass it on late. 0s sends it after one look.",
      duration("0s", "1d").prefault("1m"),
    ),
    poll_interval: key("Time between two looks at a submission that is not finished.", wait().prefault("5s")),
    give_up_after: key(
      "A content that VMRay works on for so long without a verdict is `not_available`. Time in VMRay's queue does not count.",
      duration("1ms", "365d").prefault("1h"),
    ),
    queue_limit: key(
      "The same for a content that was submitted so long ago, time in VMRay's queue included.",
      duration("1ms", "365d").prefault("12h"),
    ),
    budget: budgetKey(),
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
    max_recursive_samples: key(
      "Most contents that VMRay takes out of one submission and analyses by themselves; each takes quota.",
      whole(0, 50).optional(),
      { fallback: "set in VMRay", example: 5 },
    ),
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
    report_after: key(
      "A mail whose parts still wait for VMRay is reported by then with what is known, `complete: false`. Later verdicts come as `verdict.changed`.",
      duration("1s", "365d").prefault("15m"),
    ),
    relook: key(
      "Verdicts that keep being true: URLs, and contents that VMRay did not know, are looked up again after delivery, and deny lists are applied to mails that came.",
      z
        .strictObject({
          for: key("How long after delivery; 0s switches it off.", duration("0s", "30d").prefault("24h")),
          first: key(
            "Time to the first look. Each later one has twice the wait.",
            duration("1s", "30d").prefault("10m"),
          ),
          submit: key(
            "Submit URLs anew for their reputation at each look, past VMRay's cache, where the look-up finds nothing bad. Each takes quota.",
            flag().prefault(false),
          ),
        })
        .prefault({}),
    ),
    reuse_results: key(
      "How old the last analysis of a content in VMRay may be for its verdict to count. What is older is analysed anew; where the policy only looks up, or nothing may be submitted, it counts all the same.",
      z
        .strictObject({
          malicious: key("A malicious verdict.", duration("0s", "36500d").prefault("36500d")),
          suspicious: key("A suspicious verdict.", duration("0s", "36500d").prefault("30d")),
          clean: key("A clean verdict.", duration("0s", "36500d").prefault("7d")),
        })
        .prefault({}),
    ),
    cache: key(
      "How long a verdict serves later mails with the same content before VMRay is asked again.",
      z
        .strictObject({
          malicious: key("A malicious verdict.", duration("0s", "3650d").prefault("7d")),
          suspicious: key("A suspicious verdict.", duration("0s", "3650d").prefault("1d")),
          clean: key("A clean verdict.", duration("0s", "3650d").prefault("4h")),
          not_available: key("VMRay finished and knows nothing.", duration("0s", "3650d").optional(), {
            fallback: "as `clean`",
            example: "1h",
          }),
          failed: key(
            "An analysis that did not come about, or was not made for the budget; for a while, spares asking again for each mail of a wave.",
            duration("0s", "3650d").prefault("0s"),
          ),
        })
        .prefault({}),
    ),
    analyzers: key(
      "Further analyzers, like one in the Cloud beside one On-Premises. Rules choose by name (`triage.rules[].analyzer`). Each has its own calls, pauses, budget and list of finished submissions.",
      z.array(furtherAnalyzer).max(15).prefault([]),
    ),
    fallback: key(
      "Analyzers that are asked in turn where one does not take a content: it is too large, of a type that is not supported, or the quota or the budget is used up. `default` may be one of them.",
      z.array(destinationName()).max(16).prefault([]),
      { example: ["cloud"] },
    ),
  })
  .check(rule((section) => [...connectionConflicts(section), ...analyzerConflicts(section)]));
