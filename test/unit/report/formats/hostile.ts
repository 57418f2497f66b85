/** Events with hostile text in every place that a mail can reach, and small readers of the formats. */

import type { SensorEvent } from "../../../../src/report/event.ts";
import type { ContentVerdict } from "../../../../src/verdict/verdict.ts";
import { content, file, link, mailRow, verdictEvent } from "../fixtures.ts";

export const HOSTILE: readonly string[] = [
  'end"}\r\n<131>1 - forged - - - - {"verdict":"clean"}',
  "nul\u0000bell\u0007escape\u001b[2J\u001b]0;title\u0007",
  "lines\u2028and\u2029paragraphs\u0085next",
  "order\u202egpj.exe\u2066x\u2069",
  "lone\ud800and\udc00",
  "|=\\ = a=b cs1=forged |CEF:0|x|y^~;!k=v\\n\\",
  "LEEF:2.0|v|p|1|e|^|verdict=clean^sev=1",
  "tab\tand \\u0007 text",
  "{{ verdict }}{% for %}",
  "__proto__",
];

export const EVIDENCE: Partial<ContentVerdict> = {
  verdict: "malicious",
  threat_names: ["Emotet"],
  vmray: { sample_id: 7, submission_id: 8, url: "https://vmray.example/samples/7" },
  evidence: {
    classifications: ["Ransomware", "Something new"],
    indicators: [{ category: "Persistence", operation: "Installs a service", score: 4 }],
    techniques: [{ id: "T1543.003", name: "Windows Service", tactics: ["Persistence"] }],
    iocs: {
      urls: ["http://c2.example/gate?id=1"],
      domains: ["c2.example"],
      ips: ["203.0.113.9", "2001:db8::9"],
      files: ["b".repeat(64)],
      email_addresses: ["drop@c2.example"],
    },
  },
};

/** A malicious mail with `text` as subject, names, addresses, URL and what VMRay says. */
export function eventWith(text: string): SensorEvent {
  const evidence = EVIDENCE.evidence;
  const bad = content({
    ...EVIDENCE,
    threat_names: [text],
    reason: text,
    ...(evidence && { evidence: { ...evidence, classifications: [text] } }),
  });
  return verdictEvent(
    mailRow(
      [file(text, bad, { path: [text] }), file(null, content()), link(`http://a.example/${text}`, bad)],
      {
        envelope: {
          from: text,
          to: [text, "anna@example.org"],
          client_ip: "192.0.2.7",
          helo: text,
          tls: "TLSv1.3 TLS_AES_256_GCM_SHA384",
        },
      },
      { mail: { message_id: text, subject: text, from: [text], to: [text], cc: [text], date: null } },
    ),
  );
}

/** A plain malicious mail. */
export const malicious = (): SensorEvent =>
  verdictEvent(
    mailRow([
      file("invoice.pdf.exe", content(EVIDENCE), { type: "application/x-dosexec" }),
      file("fine.txt", content(), { sha256: "c".repeat(64), type: "text/plain" }),
      link("https://pay.example:8443/a/b?user=anna#top", content({ verdict: "suspicious" })),
    ]),
  );

/** What no line may hold: controls, separators, bidirectional controls. */
export const UNSAFE = /[\u0000-\u001F\u007F-\u009F\u2028-\u202E\u2066-\u2069]|\p{Surrogate}/u;

/** The attributes of a CEF line, written after the standard: keys, values with \\ \= \n \r. */
export function readCef(line: string): {
  readonly header: readonly string[];
  readonly fields: Map<string, string>;
} {
  const header: string[] = [];
  let at = 0;
  for (let field = ""; header.length < 7; at += 1) {
    const one = line[at];
    if (one === undefined) throw new Error("the header ends early");
    if (one === "\\") {
      at += 1;
      field += line[at];
    } else if (one === "|") {
      header.push(field);
      field = "";
    } else field += one;
  }
  const extension = line.slice(at);
  const starts = [...extension.matchAll(/(?:^| )([A-Za-z][A-Za-z0-9]*)=/g)].filter(
    ({ index }) => index === 0 || !/(?<!\\)(\\\\)*\\$/.test(extension.slice(0, index)),
  );
  const fields = new Map<string, string>();
  for (const [n, match] of starts.entries()) {
    const value = extension.slice(match.index + match[0].length, starts[n + 1]?.index ?? extension.length);
    if (/(?<!\\)(\\\\)*=/.test(value.replace(/\\./g, "")))
      throw new Error(`a bare equals sign in ${match[1]}`);
    if (fields.has(match[1] ?? "")) throw new Error(`${match[1]} is there twice`);
    fields.set(
      match[1] ?? "",
      value.replace(/\\([\\=nr])/g, (_, one: string) => (one === "n" ? "\n" : one === "r" ? "\r" : one)),
    );
  }
  return { header, fields };
}

/** The attributes of a LEEF 2.0 line. */
export function readLeef(line: string): {
  readonly header: readonly string[];
  readonly fields: Map<string, string>;
} {
  const [leef = "", vendor = "", product = "", version = "", id = "", delimiter = "", ...rest] =
    line.split("|");
  const fields = new Map<string, string>();
  for (const pair of rest.join("|").split(delimiter)) {
    const equals = pair.indexOf("=");
    const key = pair.slice(0, equals);
    if (!/^[A-Za-z][A-Za-z0-9]*$/.test(key)) throw new Error(`no key: ${key}`);
    if (fields.has(key)) throw new Error(`${key} is there twice`);
    fields.set(key, pair.slice(equals + 1));
  }
  return { header: [leef, vendor, product, version, id, delimiter], fields };
}
