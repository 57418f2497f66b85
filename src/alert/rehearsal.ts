/**
 * Tries an alert of the configuration before it is used: its templates with samples, and its DKIM key.
 *
 * What is wrong comes out, each with the path of the key below the alert. Reads the files the alert names, opens no
 * connection.
 */
import { printable } from "../config/problem.ts";
import type { AlertConfig } from "../config/schema.ts";
import { asSensorError } from "../errors.ts";
import { rehearseTemplates } from "./compose.ts";
import { loadDkimKey } from "./dkim.ts";
import type { RenderTemplate } from "./template.ts";

export type AlertFinding = {
  readonly key: readonly string[];
  readonly severity: "problem" | "warning";
  readonly message: string;
};

const MAX_MESSAGE = 600;

export async function rehearseAlert(
  config: AlertConfig,
  render: RenderTemplate,
): Promise<readonly AlertFinding[]> {
  const templates = (await rehearseTemplates(config, render)).map(({ key, severity, message }) => ({
    key: [key],
    severity,
    message: printable(message, MAX_MESSAGE),
  }));
  return [...templates, ...dkimFinding(config)];
}

function dkimFinding(config: AlertConfig): readonly AlertFinding[] {
  try {
    loadDkimKey(config);
    return [];
  } catch (thrown) {
    const message = printable(asSensorError(thrown).message.replace(/^.*key_file: /, ""), MAX_MESSAGE);
    return [{ key: ["dkim", "key_file"], severity: "problem", message }];
  }
}
