/** `triage.rules` and `triage.lists`: what the customer decides about parts of mails. */
import { z } from "zod";
import { FACTS } from "../../extract/facts.ts";
import { FLAGS } from "../../extract/flags.ts";
import { LIST_KINDS, LIST_NAMES } from "../../triage/lists.ts";
import { readAddressPattern, readHostPattern, readTypePattern } from "../../triage/patterns.ts";
import { ANALYZER_MODES, PRIORITIES } from "../../triage/plan.ts";
import { type Problematic, readNetwork } from "../address.ts";
import { noted } from "../note.ts";
import { nearest } from "../suggest.ts";
import {
  type Conflict,
  choice,
  destinationName,
  duration,
  flag,
  isEmpty,
  key,
  path,
  rule,
  size,
  text,
  type Unchecked,
  when,
  whole,
} from "./kinds.ts";

export const TYPE_GROUPS = [
  "documents",
  "scripts",
  "executables",
  "archives",
  "html",
  "disk_images",
  "shortcuts",
  "mails",
  "images",
  "media",
  "text",
  "other",
] as const;
export type TypeGroup = (typeof TYPE_GROUPS)[number];

const ATTACHMENT_ACTIONS = ["skip", "lookup", "reputation", "static", "dynamic"] as const;
const URL_ACTIONS: readonly string[] = ["skip", "lookup", "reputation", "dynamic"];

/** Conditions that only one kind of artifact can meet. */
const CONDITIONS_OF = {
  attachment: ["type", "group", "extension", "min_size", "max_size", "facts"],
  url: ["sources", "host"],
} as const;
type Kind = keyof typeof CONDITIONS_OF;

export const DIRECTIONS = ["inbound", "outbound", "internal"] as const;

/** One value or a list of them: any of these. */
const anyOf = <T extends z.core.$ZodType>(description: string, value: T, example: unknown) =>
  key(description, z.array(value).min(1).max(1000).optional(), { example, oneOrMore: true });

const known = (kind: string, names: readonly string[]) =>
  text(kind, (written): string | Problematic => {
    if (names.includes(written)) return written;
    const meant = nearest(written, names);
    const hint = meant === null ? "; docs/extraction.md lists them" : `; did you mean ${meant}?`;
    return { problem: `is not the name of a ${kind}${hint}` };
  });

const extension = () =>
  text("extension", (written): string | Problematic =>
    /^[^\s./\\\p{C}]{1,32}$/u.test(written)
      ? written.toLowerCase()
      : { problem: "must be the extension alone, like exe: no dot in it or before it" },
  );

const source = () =>
  noted(
    z
      .string()
      .regex(/^[a-z0-9-]{1,64}\*?$/, "must be the name of a source, like html, or its beginning with a *"),
    { kind: "source" },
  );

const match = z
  .strictObject({
    kind: key("`attachment` or `url`; both where it is missing.", choice(["attachment", "url"]).optional(), {
      example: "attachment",
    }),
    type: anyOf(
      "Media types of the attachment, told from its content; a `*` at the end stands for any end.",
      text("media type", readTypePattern),
      ["application/pdf", "image/*"],
    ),
    group: anyOf("Groups of file types, as in `analyze`.", choice(TYPE_GROUPS), ["executables", "scripts"]),
    extension: anyOf("Extensions of its name, without the dot.", extension(), ["exe", "js"]),
    min_size: key("Least size of the attachment.", size("0B", "4GB").optional(), { example: "1KB" }),
    max_size: key("Largest size of the attachment.", size("0B", "4GB").optional(), { example: "20MB" }),
    facts: anyOf("Facts of the attachment (docs/extraction.md).", known("fact", Object.keys(FACTS)), [
      "macros",
    ]),
    flags: anyOf("Flags of the mail (docs/extraction.md).", known("flag", Object.keys(FLAGS)), [
      "archive_encrypted",
    ]),
    sources: anyOf(
      "Where the URL stood (docs/extraction.md); a `*` at the end stands for any end.",
      source(),
      ["qr", "html-*"],
    ),
    host: anyOf(
      "Host of the URL: `example.org` for that alone, `*.example.org` for all below it.",
      text("host", readHostPattern),
      ["example.org", "*.example.org"],
    ),
    sender: anyOf(
      "Envelope sender. The part before the `@` may end in `*`, the domain begin with `*.`; `<>` is the null sender.",
      text("mail address", readAddressPattern),
      ["boss@example.org", "bounce-*@example.org"],
    ),
    sender_domain: anyOf("Domain of the envelope sender.", text("domain", readHostPattern), ["example.org"]),
    recipient: anyOf(
      "Envelope recipients, written like `sender`; one that fits is enough.",
      text("mail address", readAddressPattern),
      ["ceo@example.org"],
    ),
    recipient_domain: anyOf(
      "Domains of envelope recipients; one that fits is enough.",
      text("domain", readHostPattern),
      ["*.example.org"],
    ),
    direction: anyOf(
      "From outside (`inbound`), from one of `own_domains` to others too (`outbound`) or to these alone (`internal`).",
      choice(DIRECTIONS),
      ["inbound"],
    ),
    client: anyOf("Networks of the SMTP client.", text("network (CIDR)", readNetwork), ["10.0.0.0/8"]),
  })
  .check(
    rule(({ min_size, max_size }) =>
      when(
        typeof min_size === "number" && typeof max_size === "number" && min_size > max_size,
        "min_size",
        "must not be larger than max_size",
      ),
    ),
  );

const RETENTIONS = [0, 60, 120, 180, 360] as const;

const submitParameters = z.strictObject({
  analysis_timeout: key("Longest run of a dynamic analysis.", duration("1s", "1d").optional(), {
    example: "5m",
  }),
  analyzer_mode: key(
    "What the analysis is made of: `reputation_static_dynamic` or `static_dynamic` for `dynamic`, `reputation_static` or `static` for `static`. It does not change how deep the action goes.",
    choice([...ANALYZER_MODES.dynamic, ...ANALYZER_MODES.static]).optional(),
    { example: "static_dynamic" },
  ),
  tags: key(
    "Tags in addition to those of `vmray.tags`.",
    z
      .array(
        noted(z.string().regex(/^[^,\p{C}]{1,255}$/u, "must be 1 to 255 characters, no comma"), {
          kind: "text",
        }),
      )
      .max(50)
      .optional(),
    { example: ["finance"], oneOrMore: true },
  ),
  archive_action: key(
    "What VMRay does with an archive: `sample` as one file, `compound_sample` as one of several files, `separate_samples` each by itself.",
    choice(["sample", "compound_sample", "separate_samples"]).optional(),
    { example: "separate_samples" },
  ),
  analysis_caching: key(
    "Whether VMRay may take the result of an earlier analysis.",
    choice(["disabled", "enabled", "smart", "legacy"]).optional(),
    { example: "enabled" },
  ),
  max_jobs: key("Most analyses (one for each environment).", whole(1, 100).optional(), { example: 1 }),
  shareable: key("Whether VMRay may show the hash to VirusTotal.", flag().optional(), { example: false }),
  retention_period: key(
    "Days that VMRay keeps it, 0 for ever.",
    noted(
      z.int().transform((days, context) => {
        const allowed = RETENTIONS.find((one) => one === days);
        if (allowed !== undefined) return allowed;
        context.addIssue({ code: "custom", message: `must be one of ${RETENTIONS.join(", ")} (days)` });
        return z.NEVER;
      }),
      { kind: "0, 60, 120, 180 or 360" },
    ).optional(),
    { example: 60 },
  ),
});

/** What a rule is for, by `kind` and by conditions that only one kind meets; what contradicts itself is told. */
function kindOf(conditions: Unchecked): {
  readonly kind: Kind | null;
  readonly conflicts: readonly Conflict[];
} {
  const kinds: readonly Kind[] = ["attachment", "url"];
  const written = kinds.find((kind) => conditions.kind === kind) ?? null;
  const given = kinds.flatMap((kind) =>
    CONDITIONS_OF[kind].filter((name) => conditions[name] !== undefined).map((name) => ({ kind, name })),
  );
  const kind = written ?? given[0]?.kind ?? null;
  return {
    kind,
    conflicts: given
      .filter((condition) => condition.kind !== kind)
      .map(({ name }) => ({
        path: ["match", name],
        message: `never holds for ${kind === "url" ? "a URL" : "an attachment"}: the rule would match nothing`,
      })),
  };
}

function ruleConflicts(section: Unchecked): readonly Conflict[] {
  const { action, match: conditions } = section;
  const { kind, conflicts } = kindOf(
    typeof conditions === "object" && conditions !== null ? (conditions as Unchecked) : {},
  );
  const does = ["action", "priority", "analyzer", "vmray"].some((name) => section[name] !== undefined);
  const ineffective = (names: readonly string[], why: string): readonly Conflict[] =>
    names.flatMap((name) => when(section[name] !== undefined, name, `has no effect: ${why}`));
  return [
    ...conflicts,
    ...when(!does, "", "does nothing: give it an action, a priority, an analyzer or vmray"),
    ...when(
      kind !== "attachment" && action === "static",
      "action",
      kind === "url"
        ? `must be one of ${URL_ACTIONS.join(", ")} for URLs`
        : "is for attachments alone: add kind: attachment to match",
    ),
    ...(action === "skip"
      ? ineffective(["priority", "analyzer", "vmray"], "what is skipped is not sent")
      : []),
    ...(action === "lookup" ? ineffective(["vmray"], "a look-up submits nothing") : []),
    ...modeConflicts(action, section.vmray),
  ];
}

function modeConflicts(action: unknown, vmray: unknown): readonly Conflict[] {
  const mode: unknown =
    typeof vmray === "object" && vmray !== null ? Reflect.get(vmray, "analyzer_mode") : undefined;
  if (mode === undefined || (action !== "reputation" && action !== "static" && action !== "dynamic"))
    return [];
  const modes: readonly unknown[] = ANALYZER_MODES[action];
  const message =
    action === "reputation"
      ? "has no effect: a reputation has one mode"
      : `must be one of ${modes.join(", ")} for action: ${action}`;
  return modes.includes(mode) ? [] : [{ path: ["vmray", "analyzer_mode"], message }];
}

export const triageRule = z
  .strictObject({
    name: key("Name of the rule, in events and logs.", destinationName(), { example: "finance-macros" }),
    match: key(
      "Conditions; all that are given must hold. Without any it matches everything.",
      match.prefault({}),
    ),
    action: key(
      "For attachments `skip`, `lookup`, `reputation`, `static` or `dynamic`, for URLs `skip`, `lookup`, `reputation` or `dynamic`. Without it the defaults decide the action.",
      choice(ATTACHMENT_ACTIONS).optional(),
      { example: "dynamic" },
    ),
    priority: key("`low`, `normal` or `high`.", choice(PRIORITIES).optional(), {
      fallback: "normal",
      example: "high",
    }),
    analyzer: key(
      "Name of the analyzer that is asked: `default`, or one of `vmray.analyzers`.",
      destinationName().optional(),
      {
        fallback: "`default`",
        example: "cloud",
      },
    ),
    vmray: key(
      "How VMRay is to analyse it; what is left out follows the `vmray` section.",
      submitParameters.optional(),
    ),
  })
  .check(rule(ruleConflicts));

export type TriageRule = z.output<typeof triageRule>;

/** Parameters that no submission by the rule has. */
export function ruleAdvice({ action, match: conditions, vmray = {} }: TriageRule): readonly Conflict[] {
  const { kind } = kindOf(conditions);
  // Where the defaults decide, URLs are asked about for their reputation.
  const effective = action ?? (kind === "url" ? "reputation" : undefined);
  const shallow = effective === "reputation" || effective === "static";
  const only = `has no effect: only a dynamic analysis has it, and this is ${effective}`;
  const useless = [
    ...when(kind === "url", "archive_action", "has no effect: a URL is no archive"),
    ...when(shallow, "analysis_timeout", only),
    ...when(shallow, "max_jobs", only),
  ];
  return useless
    .filter(({ path: [name = ""] }) => Reflect.get(vmray, name) !== undefined)
    .map(({ path, message }) => ({ path: ["vmray", ...path], message }));
}

/** Names given twice, and directions that nobody can tell. */
export function rulesConflicts({ rules, own_domains }: Unchecked): readonly Conflict[] {
  if (!Array.isArray(rules)) return [];
  const entries = rules.map((one): Unchecked => (typeof one === "object" && one !== null ? one : {}));
  const names = entries.map(({ name }) => name);
  return entries.flatMap(({ name, match: conditions }, n) => [
    ...(typeof name === "string" && names.indexOf(name) < n
      ? [{ path: ["rules", n, "name"], message: "is the name of an earlier rule already" }]
      : []),
    ...(isEmpty(own_domains) && (conditions as Unchecked | undefined)?.direction !== undefined
      ? [{ path: ["rules", n, "match", "direction"], message: "needs triage.own_domains" }]
      : []),
  ]);
}

export const triageList = z.strictObject({
  list: key("`allow` or `deny`.", choice(LIST_NAMES), { example: "deny" }),
  kind: key(
    "What is in it: `hash` (MD5, SHA-1, SHA-256), `domain` (with all below it), `url` or `sender` (an address, or a domain with all below it).",
    choice(LIST_KINDS),
    { example: "hash" },
  ),
  file: key("One value a line; what follows a `#` is a comment.", path("list"), {
    example: "deny-hashes.txt",
  }),
});
