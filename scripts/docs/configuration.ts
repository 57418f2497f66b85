/** docs/configuration.md, from the schema of the configuration. */
import { stringify } from "yaml";
import { CONFIG_KEYS, type Key, type SectionKey } from "../../src/config/keys.ts";
import { inline } from "./example.ts";
import { table } from "./markdown.ts";

function kindOf(key: Key): string {
  if (key.shape === "section") return "section";
  if (key.shape === "list") {
    const item = kindOf(key.item);
    return key.note.oneOrMore === true ? `one or a list: ${item}` : `list: ${item}`;
  }
  if (key.choices !== null) return key.choices.map((choice) => `\`${choice}\``).join(", ");
  return key.note.kind ?? key.type;
}

function defaultOf(key: Key): string {
  if (key.required) return "**required**";
  if (key.note.fallback !== undefined) return key.note.fallback;
  return key.default === undefined || key.shape === "section" ? "none" : `\`${inline(key.default)}\``;
}

/** Rows of all keys of a section; keys of sections within it follow theirs. */
function rowsOf(section: SectionKey, prefix: string): readonly (readonly string[])[] {
  return [...section.keys].flatMap(([name, key]) => {
    const { description = "", example } = key.note;
    const sections = key.shape === "list" && key.item.shape === "section";
    const shown = example === undefined || sections ? "" : ` Example: \`${inline(example)}\`.`;
    const row = [`\`${prefix}${name}\``, kindOf(key), defaultOf(key), `${description}${shown}`];
    const [below, mark] = key.shape === "list" ? [key.item, "[]"] : [key, ""];
    const inner = below.shape === "section" ? rowsOf(below, `${prefix}${name}${mark}.`) : [];
    return [row, ...inner];
  });
}

/** A value with every key that does not exclude another, as a person would write it. */
function sampleOf(key: Key): unknown {
  if (key.shape === "section") {
    const entries = [...key.keys].filter(([, below]) => below.note.alternative !== true);
    return Object.fromEntries(entries.map(([name, below]) => [name, sampleOf(below)]));
  }
  if (key.note.example !== undefined) return key.note.example;
  if (key.shape === "list" && key.item.shape === "section") return [sampleOf(key.item)];
  return key.default;
}

function sectionText(name: string, key: Key): readonly string[] {
  const section = key.shape === "list" ? key.item : key;
  if (section.shape !== "section") throw new TypeError(`${name} is no section`);
  const head = [`## ${name}`, "", key.note.description ?? "", ""];
  if (section.keys.size === 0) return [...head, "There is nothing to set here yet.", ""];
  const sample = stringify({ [name]: sampleOf(key) }, { lineWidth: 0 }).trimEnd();
  return [
    ...head,
    table(
      ["Key", "Value", "Default", "Meaning"],
      rowsOf(section, key.shape === "list" ? `${name}[].` : `${name}.`),
    ),
    "",
    "```yaml",
    sample,
    "```",
    "",
  ];
}

export function configurationReference(): string {
  return [
    "# Configuration",
    "",
    "<!-- Made from src/config/schema.ts by scripts/docs.ts: change it there. -->",
    "",
    "One YAML file, `/etc/email-sensor/sensor.yaml`. A sensor needs two keys:",
    "",
    "```yaml",
    "vmray:",
    "  url: https://eu.cloud.vmray.com",
    "  api_key_file: /etc/email-sensor/vmray.key",
    "```",
    "",
    "`email-sensor check-config --config FILE` lists everything that is wrong with a file, each problem with its",
    "line and column. Unknown keys, wrong values and conflicts stop the start. `sensor.example.yaml` has every key",
    "with its default, and `sensor.schema.json` lets an editor complete and check the file while you write.",
    "",
    "- **Sizes** are written with a unit, `B`, `KB`, `MB`, `GB` or `TB`, each 1024 times the one before.",
    "- **Durations** are written with a unit: `ms`, `s`, `m`, `h` or `d`.",
    "- **Files**: a relative name is taken from the folder of the configuration file. Every file named is looked at",
    "  when the configuration is checked.",
    "- **Secrets** stand in files of their own that only the sensor may read. A secret is one line; white space",
    "  around it is taken off.",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: speaks of the placeholder
    "- **Environment**: `${NAME}` in a value becomes the environment variable of that name; one that is not set stops",
    "  the start. Write `$${` for a plain `${`.",
    '- **IPv6** addresses stand in quotes and brackets: `"[::1]:10025"`.',
    "",
    ...[...CONFIG_KEYS.keys].flatMap(([name, key]) => sectionText(name, key)),
  ].join("\n");
}
