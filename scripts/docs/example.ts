/** sensor.example.yaml: the configuration as a commented manual, from the schema. */
import { stringify } from "yaml";
import { CONFIG_KEYS, type Key, type SectionKey } from "../../src/config/keys.ts";

const WIDTH = 100;

/** A value in one line of YAML. */
export function inline(value: unknown): string {
  return stringify(value, { collectionStyle: "flow", flowCollectionPadding: false, lineWidth: 0 }).trim();
}

function comment(text: string, indent: string): readonly string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && indent.length + 2 + line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line].map((part) => `${indent}# ${part}`);
}

/** What the comment says beside the description. */
function remark(key: Key): string {
  const value = key.shape === "list" ? key.item : key;
  const choices = value.shape === "value" ? (value.choices ?? []) : [];
  const described = choices.every((choice) => key.note.description?.includes(`\`${choice}\``));
  const parts = described ? [] : [`${key.shape === "list" ? "Any" : "One"} of ${choices.join(", ")}.`];
  if (key.note.fallback !== undefined) parts.push(`Default: ${key.note.fallback}.`);
  else if (!key.required && key.default === undefined) parts.push("No default.");
  return parts.join(" ");
}

/** Keys that are not commented out: what a working sensor needs. */
const LIVE: ReadonlySet<string> = new Set(["vmray.url", "vmray.api_key_file"]);

function keyLines(name: string, key: Key, path: string, indent: string, before = ""): readonly string[] {
  const about = comment([key.note.description ?? "", remark(key)].join(" ").trim(), indent);
  if (key.shape === "section") {
    // A section that is optional has meaning by being there, so it is commented out as a whole; so is one in an
    // entry of a list, which is commented out itself.
    const entry = CONFIG_KEYS.keys.get(path.split(".")[0] ?? "")?.shape === "list";
    const header = key.default === undefined || entry ? `${indent}#${name}:` : `${indent}${name}:`;
    return [...about, header, ...sectionLines(key, path, `${indent}  `)];
  }
  const value = key.default ?? key.note.example;
  const live = LIVE.has(path);
  return [
    ...about,
    `${indent}${live ? "" : "#"}${before}${name}: ${inline(live ? key.note.example : value)}`,
    "",
  ];
}

function sectionLines(section: SectionKey, path: string, indent: string): readonly string[] {
  return [...section.keys].flatMap(([name, key]) => keyLines(name, key, `${path}.${name}`, indent));
}

/** One entry of a list of sections, commented out: its first key carries the dash. */
function entryLines(section: SectionKey, path: string): readonly string[] {
  return [...section.keys].flatMap(([name, key], index) =>
    index === 0
      ? keyLines(name, key, `${path}.${name}`, "  ", "- ")
      : keyLines(name, key, `${path}.${name}`, "    "),
  );
}

export function exampleConfiguration(): string {
  const sections = [...CONFIG_KEYS.keys].flatMap(([name, key]) => {
    const section = key.shape === "list" ? key.item : key;
    if (section.shape !== "section" || section.keys.size === 0) return [];
    const inside = key.shape === "list" ? entryLines(section, name) : sectionLines(section, name, "  ");
    return [...comment(key.note.description ?? "", ""), `${name}:`, ...inside];
  });
  return [
    "# Configuration of the email sensor: every key, with what it means.",
    "#",
    "# Only vmray.url and vmray.api_key_file are needed. All other keys are commented out and show their",
    "# default, or an example where the text says there is no default: to set one, take away its # and",
    "# nothing else. Sizes are written as 64MB (B, KB, MB, GB, TB), durations as 30s (ms, s, m, h, d).",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: speaks of the placeholder
    "# ${NAME} in a value becomes the environment variable NAME. Relative file names are taken from the",
    "# folder of this file. Check it with: email-sensor check-config --config FILE",
    "",
    ...sections,
  ]
    .join("\n")
    .trimEnd()
    .concat("\n");
}
