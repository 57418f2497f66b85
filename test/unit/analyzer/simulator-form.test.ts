/** The form of a submission: what is let in, and what is refused by the name of its field. */
import { describe, expect, test } from "bun:test";
import { ApiError } from "../../../src/analyzer/simulator/api-error.ts";
import { readSubmitForm, type SubmitForm } from "../../../src/analyzer/simulator/submit-form.ts";

type Fields = Readonly<Record<string, string>>;

function request(fields: Fields, file?: File): Request {
  const form = new FormData();
  if (file !== undefined) form.append("sample_file", file);
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  return new Request("http://simulator.example/rest/sample/submit", { method: "POST", body: form });
}

const file = (content = "hello", name = "a.txt"): File => new File([content], name);
const none = new URLSearchParams();
const read = (fields: Fields, sample: File | undefined = file()): Promise<SubmitForm> =>
  readSubmitForm(request(fields, sample), none);

async function refusal(reading: Promise<SubmitForm>): Promise<string> {
  try {
    await reading;
  } catch (thrown) {
    if (thrown instanceof ApiError) return `${thrown.status} ${thrown.message}`;
    throw thrown;
  }
  return "accepted";
}

describe("the form of a submission", () => {
  test("gives the file with its name, and what the API assumes for fields left out", async () => {
    const form = await read({});
    expect(form.content).toMatchObject({ kind: "file", filename: "a.txt" });
    expect(form).toMatchObject({
      mode: "reputation_static_dynamic",
      caching: "smart",
      reanalyze: true,
      tags: [],
      metadata: "{}",
      shareable: false,
      retentionDays: 0,
    });
  });

  test("may be a plain form for a URL", async () => {
    const post = (body: string, type: string) =>
      new Request("http://simulator.example/", { method: "POST", body, headers: { "content-type": type } });
    const form = await readSubmitForm(
      post(
        "sample_url=http%3A%2F%2Fa.example%2F%3Fb%3Dc&shareable=False",
        "application/x-www-form-urlencoded",
      ),
      none,
    );
    expect(form.content).toMatchObject({ kind: "url", text: "http://a.example/?b=c" });
  });

  test("is read without the fields that are not known, where they are to be ignored", async () => {
    const reading = (ignore: boolean) => readSubmitForm(request({ tag: "x" }, file()), none, ignore);
    expect(await refusal(reading(false))).toBe('400 Unknown parameter "tag".');
    expect((await reading(true)).settings.has("tag")).toBe(false);
  });

  test("prefers the file name that is sent as base64", async () => {
    const name = "Über 'uns' 発票.pdf";
    const encoded = Buffer.from(name).toString("base64");
    const form = await read({ sample_filename_b64enc: encoded });
    expect(form.content).toMatchObject({ filename: name });
    const unpadded = await read({ sample_filename_b64enc: encoded.replaceAll("=", "") });
    expect(unpadded.content).toMatchObject({ filename: name });
  });

  test("takes every field a sensor may send", async () => {
    const form = await read({
      analyzer_mode: "reputation",
      analysis_caching: "legacy",
      archive_action: "sample",
      archive_password: "infected",
      comment: "mail 12",
      detonate_links_in_emails: "disabled",
      document_password: "x",
      enable_reputation: "True",
      known_benign: "true",
      known_malicious: "False",
      max_dynamic_analyses_per_sample: "1",
      max_jobs: "3",
      max_recursive_samples: "10",
      reanalyze: "False",
      retention_period: "60",
      shareable: "False",
      submission_metadata: '{"mail":"12"}',
      tags: "email-sensor, Über_1",
      user_config: '{"timeout":120}',
    });
    expect(form).toMatchObject({
      mode: "reputation",
      caching: "legacy",
      reanalyze: false,
      tags: ["email-sensor", "Über_1"],
      comment: "mail 12",
      metadata: '{"mail":"12"}',
      shareable: false,
      retentionDays: 60,
    });
  });

  const manyTags = Array.from({ length: 101 }, (_, at) => `t${at}`).join(",");
  const wrong: readonly (readonly [string, string])[] = [
    ["analyzer_mode", "fast"],
    ["analysis_caching", ""],
    ["archive_action", "ignore"],
    ["disk_image_action", "separate_samples"],
    ["disk_image_action", "none"],
    ["enable_reputation", "1"],
    ["shareable", "yes"],
    ["shareable", "TRUE"],
    ["max_jobs", "0"],
    ["max_jobs", "1.5"],
    ["max_jobs", "-1"],
    ["max_jobs", "1e3"],
    ["max_dynamic_analyses_per_sample", "11"],
    ["max_recursive_samples", "51"],
    ["retention_period", "30"],
    ["detonate_links_in_emails", "on"],
    ["tags", "two words"],
    ["tags", "a,,b"],
    ["tags", "a".repeat(256)],
    ["tags", 'a"b'],
    ["tags", manyTags],
    ["user_config", "timeout=120"],
    ["user_config", "[120]"],
    ["user_config", '{"timeout":"120"}'],
    ["user_config", '{"timeout":0}'],
    ["submission_metadata", "[]"],
    ["submission_metadata", "null"],
    ["submission_metadata", JSON.stringify({ a: "x".repeat(5000) })],
    ["jobrule_entries", '"a"'],
    ["sample_filename_b64enc", "not base64!"],
    ["sample_filename_b64enc", Buffer.from([0xff, 0xfe]).toString("base64")],
    ["comment", "x".repeat(5000)],
    ["webhook_notification", '{"url":"http://hook.example/"}'],
    ["cmd_line", "/c"],
  ];
  test.each(wrong.map(([name, value]) => [name, value.slice(0, 40), value] as const))(
    "refuses %s with the value %p by its name",
    async (name, _shown, value) => {
      expect(await refusal(read({ [name]: value }))).toStartWith(`400 ${name}: `);
    },
  );

  test("refuses a field that the API does not know, also one that every object has", async () => {
    expect(await refusal(read({ sample_tags: "a" }))).toBe('400 Unknown parameter "sample_tags".');
    expect(await refusal(read({ constructor: "a" }))).toBe('400 Unknown parameter "constructor".');
  });

  test("refuses a field given twice, in the body or in body and query", async () => {
    const twice = new FormData();
    twice.append("sample_file", file());
    twice.append("tags", "a");
    twice.append("tags", "b");
    const post = new Request("http://simulator.example/", { method: "POST", body: twice });
    expect(await refusal(readSubmitForm(post, none))).toContain("more than once");
    const both = readSubmitForm(request({ tags: "a" }, file()), new URLSearchParams({ tags: "b" }));
    expect(await refusal(both)).toContain("more than once");
  });

  test("takes fields in the query, and a URL with no body at all", async () => {
    const inQuery = await readSubmitForm(request({}, file()), new URLSearchParams({ tags: "a,b" }));
    expect(inQuery.tags).toEqual(["a", "b"]);
    const bare = new Request("http://simulator.example/", { method: "POST" });
    const form = await readSubmitForm(
      bare,
      new URLSearchParams({ sample_url: "http://www.example/x?y=1#z" }),
    );
    expect(form.content).toMatchObject({ kind: "url", text: "http://www.example/x?y=1#z" });
  });

  test("wants a sample, and only one", async () => {
    expect(await refusal(readSubmitForm(request({}), none))).toBe(
      "400 sample_file: a sample_file or a sample_url is required",
    );
    expect(await refusal(read({ sample_url: "http://www.example/" }))).toStartWith("400 sample_url: ");
    expect(await refusal(read({}, file("")))).toBe("400 sample_file: must not be empty");
  });

  test("does not fetch a sample from an address", async () => {
    const form = request({ sample_file: "http://internal.example/secret" });
    expect(await refusal(readSubmitForm(form, none))).toStartWith("400 sample_file: ");
  });

  test.each([
    "javascript:alert(1)",
    "file:///etc/passwd",
    "www.example",
    "http://",
    "http://www.exam\tple/",
    "",
  ])("refuses the URL %p", async (url) => {
    expect(await refusal(readSubmitForm(request({ sample_url: url }), none))).toStartWith("400 sample_url: ");
  });

  test("refuses a body that is no multipart form", async () => {
    const post = (body: string, type: string): Request =>
      new Request("http://simulator.example/", { method: "POST", body, headers: { "content-type": type } });
    expect(await refusal(readSubmitForm(post("{}", "application/json"), none))).toContain(
      "multipart/form-data",
    );
    expect(await refusal(readSubmitForm(post("tags=a", "text/plain"), none))).toContain(
      "multipart/form-data",
    );
    expect(await refusal(readSubmitForm(post("junk", "multipart/form-data; boundary=x"), none))).toStartWith(
      "400 ",
    );
    expect(await refusal(readSubmitForm(post("junk", "multipart/form-data"), none))).toStartWith("400 ");
  });
});
