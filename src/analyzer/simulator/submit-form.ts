/**
 * The form of POST /rest/sample/submit: every field the API knows, each with its check.
 *
 * Takes the request, gives the checked form. What breaks a rule is an ApiError 400 that names the field; a sample
 * over the limit is 413. Fields may stand in the body (multipart/form-data) or in the query, as the API allows.
 */
import { ApiError } from "./api-error.ts";

/** Also `webif_max_sample_size` and `webif_max_upload_size` of system_info. */
export const MAX_SAMPLE_SIZE = 200 * 1024 ** 2;
/** With room for the other fields and the multipart framing; the server refuses more with an empty 413. */
export const MAX_BODY_SIZE = MAX_SAMPLE_SIZE + 1024 ** 2;
const MAX_FIELDS = 64;
const MAX_TEXT = 4096;
const MAX_URL = 8192;
const MAX_TAG = 255;
const MAX_TAGS = 100;

export const ANALYZER_MODES = [
  "reputation",
  "reputation_static",
  "reputation_static_dynamic",
  "static_dynamic",
  "static",
] as const;
export type AnalyzerMode = (typeof ANALYZER_MODES)[number];
export const CACHING_MODES = ["disabled", "enabled", "smart", "legacy"] as const;
export type CachingMode = (typeof CACHING_MODES)[number];

export type SubmittedContent =
  | { readonly kind: "file"; readonly bytes: Uint8Array; readonly filename: string }
  | { readonly kind: "url"; readonly text: string; readonly url: URL };

export type SubmitForm = {
  readonly content: SubmittedContent;
  readonly mode: AnalyzerMode;
  readonly caching: CachingMode;
  readonly reanalyze: boolean;
  readonly tags: readonly string[];
  readonly comment: string | null;
  /** The JSON text as it was sent. */
  readonly metadata: string;
  readonly shareable: boolean;
  readonly retentionDays: number;
  /** Every other field that was sent, checked, as text: the answers echo them. */
  readonly settings: ReadonlyMap<string, string>;
};

/** Undefined where the value is right, else what it has to be. */
type Check = (value: string) => string | undefined;

const BOOLEANS: readonly string[] = ["True", "False", "true", "false"];
const boolean: Check = (value) => (BOOLEANS.includes(value) ? undefined : "must be True or False");
const oneOf =
  (...values: readonly string[]): Check =>
  (value) =>
    values.includes(value) ? undefined : `must be one of ${values.join(", ")}`;
const integer =
  (least: number, most: number): Check =>
  (value) =>
    /^\d{1,9}$/.test(value) && Number(value) >= least && Number(value) <= most
      ? undefined
      : `must be a whole number from ${least} to ${most}`;
const text =
  (most: number): Check =>
  (value) =>
    value.length <= most ? undefined : `must not be longer than ${most} characters`;

type Json = { readonly ok: boolean; readonly value: unknown };
function json(value: string): Json {
  if (value.length > MAX_TEXT) return { ok: false, value: undefined };
  try {
    return { ok: true, value: JSON.parse(value) };
  } catch {
    return { ok: false, value: undefined }; // the caller answers 400 and names the field
  }
}
const isDictionary = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const dictionary: Check = (value) =>
  isDictionary(json(value).value) ? undefined : `must be a JSON dictionary of at most ${MAX_TEXT} characters`;

function tagList(value: string): readonly string[] {
  return value === "" ? [] : value.split(",").map((tag) => tag.trim());
}
const tags: Check = (value) => {
  const list = tagList(value);
  if (list.length > MAX_TAGS) return `must not hold more than ${MAX_TAGS} tags`;
  return list.every((tag) => /^[\p{L}\p{N}_.:@+#/=-]+$/u.test(tag) && tag.length <= MAX_TAG)
    ? undefined
    : `must be tags separated by commas, each of at most ${MAX_TAG} letters, digits and _ . : @ + # / = -`;
};
const userConfig: Check = (value) => {
  const config = json(value).value;
  if (!isDictionary(config)) return dictionary(value);
  const timeout = config.timeout;
  return timeout === undefined || (typeof timeout === "number" && Number.isInteger(timeout) && timeout > 0)
    ? undefined
    : "must have a positive whole number of seconds as timeout";
};
const jobrules: Check = (value) => {
  const rules = json(value).value;
  return isDictionary(rules) || Array.isArray(rules) ? undefined : "must be a JSON list or dictionary";
};
const archiveAction = oneOf("sample", "compound_sample", "separate_samples");
const diskImageAction: Check = (value) =>
  value === "separate_samples"
    ? "is not simulated with separate_samples: a disk image stays one sample"
    : archiveAction(value);
const links = oneOf("enabled", "smart", "disabled", "custom");
const phishing = oneOf("disabled", "conservative", "normal", "aggressive");
const notSimulated: Check = () => "is a field of the API that the simulator does not know how to follow";

const CHECKS: Readonly<Record<string, Check>> = {
  sample_url: text(MAX_URL),
  sample_filename_b64enc: text(MAX_TEXT),
  sample_type: text(64),
  archive_action: archiveAction,
  disk_image_action: diskImageAction,
  compound_sample: boolean,
  entry_point: text(MAX_TEXT),
  archive_password: text(255),
  document_password: text(255),
  analyzer_mode: oneOf(...ANALYZER_MODES),
  enable_reputation: boolean,
  enable_whois: boolean,
  known_malicious: boolean,
  known_benign: boolean,
  enable_triage: boolean,
  triage_error_handling: oneOf("no_start_analysis", "start_analysis"),
  analysis_caching: oneOf(...CACHING_MODES),
  reanalyze: boolean,
  max_jobs: integer(1, 1000),
  max_dynamic_analyses_per_sample: integer(0, 10),
  max_recursive_samples: integer(0, 50),
  detonate_links_in_emails: links,
  detonate_links_in_documents: links,
  ai_based_phishing_detection: phishing,
  ml_based_phishing_detection: phishing,
  tags,
  comment: text(MAX_TEXT),
  submission_metadata: dictionary,
  user_config: userConfig,
  jobrule_entries: jobrules,
  shareable: boolean,
  retention_period: oneOf("0", "60", "120", "180", "360"),
  webhook_notification: notSimulated,
  child_relations: notSimulated,
  prescript_file: notSimulated,
  prescript_filename_b64enc: notSimulated,
  prescript_force_admin: notSimulated,
  cmd_line: notSimulated,
  dll_calls: notSimulated,
  dll_call_mode: notSimulated,
  system_time: notSimulated,
  live_interaction: notSimulated,
  disable_known_config: notSimulated,
  reputation_mode: notSimulated,
  whois_mode: notSimulated,
};

const fault = (field: string, message: string): ApiError => new ApiError(400, `${field}: ${message}`);
/** A field's name as it came, fit for an error message. */
const shown = (name: string): string => JSON.stringify(name.slice(0, 64));

function decodeFilename(value: string): string {
  const wrong = fault("sample_filename_b64enc", "must be base64 of UTF-8 text");
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/.test(value)) throw wrong;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(value, "base64"));
  } catch {
    throw wrong;
  }
}

function readUrl(value: string): SubmittedContent {
  const wrong = fault("sample_url", "must be a URL with the scheme http, https or ftp");
  // The parser of the URL standard drops tabs and line ends; here they are a fault of the client.
  if (/[\0-\x1f\x7f]/.test(value) || !URL.canParse(value)) throw wrong;
  const url = new URL(value);
  if (!["http:", "https:", "ftp:"].includes(url.protocol) || url.hostname === "") throw wrong;
  return { kind: "url", text: value, url };
}

async function readBody(request: Request): Promise<Iterable<[string, string | File]>> {
  const type = request.headers.get("content-type");
  if (type === null && (request.body === null || request.headers.get("content-length") === "0")) return [];
  // A URL comes as a plain form from VMRay's own clients.
  if (
    type === null ||
    !/^(?:multipart\/form-data\s*;|application\/x-www-form-urlencoded\s*(?:;|$))/i.test(type)
  ) {
    throw new ApiError(400, "The request must be multipart/form-data.");
  }
  try {
    // The type of Bun's FormData names Blob for what always is a File here.
    return (await request.formData()).entries() as Iterable<[string, string | File]>;
  } catch {
    throw new ApiError(400, "The body of the request is no valid multipart/form-data.");
  }
}

/**
 * Reads and checks the form of a submission. Throws ApiError where the API would refuse the request; fields that
 * are not known are refused too, or left out with `ignoreUnknown`.
 */
export async function readSubmitForm(
  request: Request,
  query: URLSearchParams,
  ignoreUnknown = false,
): Promise<SubmitForm> {
  const fields = new Map<string, string>();
  let file: File | undefined;
  for (const [name, value] of [...query.entries(), ...(await readBody(request))]) {
    if (fields.size >= MAX_FIELDS) throw new ApiError(400, `The form has more than ${MAX_FIELDS} fields.`);
    if (fields.has(name) || (name === "sample_file" && file !== undefined)) {
      throw fault(shown(name), "is given more than once");
    }
    if (name === "sample_file") {
      if (typeof value === "string")
        throw fault("sample_file", "must be a file part; addresses are disabled");
      file = value;
      continue;
    }
    const check = Object.hasOwn(CHECKS, name) ? CHECKS[name] : undefined;
    if (check === undefined && ignoreUnknown) continue;
    if (check === undefined) throw new ApiError(400, `Unknown parameter ${shown(name)}.`);
    if (typeof value !== "string") throw fault(name, "must not be a file part");
    const problem = check(value);
    if (problem !== undefined) throw fault(name, problem);
    fields.set(name, value);
  }
  return {
    content: await readContent(file, fields),
    mode: pick(ANALYZER_MODES, fields.get("analyzer_mode")) ?? "reputation_static_dynamic",
    caching: pick(CACHING_MODES, fields.get("analysis_caching")) ?? "smart",
    reanalyze: fields.get("reanalyze")?.toLowerCase() !== "false",
    tags: tagList(fields.get("tags") ?? ""),
    comment: fields.get("comment") ?? null,
    metadata: fields.get("submission_metadata") ?? "{}",
    shareable: fields.get("shareable")?.toLowerCase() === "true",
    retentionDays: Number(fields.get("retention_period") ?? "0"),
    settings: fields,
  };
}

function pick<T extends string>(values: readonly T[], value: string | undefined): T | undefined {
  return values.find((known) => known === value);
}

async function readContent(
  file: File | undefined,
  fields: ReadonlyMap<string, string>,
): Promise<SubmittedContent> {
  const url = fields.get("sample_url");
  if (file !== undefined && url !== undefined) {
    throw fault("sample_url", "must not be given together with sample_file");
  }
  if (url !== undefined) return readUrl(url);
  if (file === undefined) throw fault("sample_file", "a sample_file or a sample_url is required");
  if (file.size > MAX_SAMPLE_SIZE) {
    throw new ApiError(413, `sample_file: must not be larger than ${MAX_SAMPLE_SIZE} bytes`);
  }
  if (file.size === 0) throw fault("sample_file", "must not be empty");
  const encoded = fields.get("sample_filename_b64enc");
  return {
    kind: "file",
    bytes: new Uint8Array(await file.arrayBuffer()),
    filename: encoded === undefined ? file.name : decodeFilename(encoded),
  };
}
