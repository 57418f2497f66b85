/**
 * `status`: how a running sensor stands, on one screen.
 */
import type { Status } from "../../gen/emailsensor/v1/sensor.ts";
import { destinationWord, statusJson } from "../control/json.ts";
import { toJsonLine } from "../text.ts";
import { formatDuration, formatSize } from "../units.ts";
import type { Command, ExitCode } from "./command.ts";
import { controlArguments, SHARED_USAGE } from "./control-options.ts";
import { longTime, type Screen, screenOf } from "./screen.ts";
import { printable, renderTable } from "./table.ts";

const USAGE = `use: email-sensor status [options]

Shows how a running sensor stands: mails, verdicts, open analyses, destinations, spool.

options:
${SHARED_USAGE}

Exit codes: 0 done, 1 refused, 2 bad usage, 3 no sensor answers.
`;

/** The lines for people. `now` is milliseconds since 1970. */
export function renderStatus(status: Status, screen: Screen, now: number): readonly string[] {
  const json = statusJson(status);
  const line = (title: string, text: string) => `${title.padEnd(13)}${text}`;
  const counts = (of: Readonly<Record<string, number>>) =>
    Object.entries(of)
      .map(([word, number]) => `${number} ${screen.colour(number > 0 ? word : "", word)}`)
      .join("  ");
  const { analyzer } = json;
  const lines = [
    line("sensor", `${printable(json.sensor?.id ?? "?")}, version ${printable(json.sensor?.version ?? "?")}`),
    line("running", `${formatDuration(json.uptime_seconds * 1000)}, since ${longTime(status.startedAt)}`),
    line("mails", counts(json.mails)),
    line("verdicts", counts(json.verdicts)),
    line("analyses", counts(json.analyses)),
    line(
      "analyzer",
      analyzer === null
        ? "not running"
        : analyzer.paused_reason === null
          ? `working, ${analyzer.running} of ${analyzer.open} at the moment`
          : `${screen.colour("suspicious", "paused")}: ${printable(analyzer.paused_reason)}`,
    ),
    line("spool", formatSize(json.spool_bytes)),
  ];
  if (status.destinations.length === 0) return [...lines, line("destinations", "none")];
  const states = status.destinations.map((destination) => destinationWord(destination.state));
  const table = renderTable(
    [
      { title: "destination" },
      { title: "state" },
      { title: "waiting", align: "right" },
      { title: "oldest", align: "right" },
      { title: "delivered", align: "right" },
      { title: "last error", shrink: true },
    ],
    status.destinations.map((destination, index) => [
      destination.name,
      states[index] ?? "",
      String(destination.backlog),
      destination.oldestWaitingAt === undefined
        ? "-"
        : formatDuration(Math.max(0, now - destination.oldestWaitingAt.getTime())),
      String(destination.delivered),
      destination.lastError ?? "",
    ]),
    screen.width,
    (cell, row, column) => (column === 1 ? screen.colour(states[row] ?? "", cell) : cell),
  );
  return [...lines, "", ...table];
}

async function run(args: readonly string[]): Promise<ExitCode> {
  const options = controlArguments(args, {}, 0);
  const client = await options.connect();
  try {
    const status = await client.getStatus();
    const lines = options.json
      ? [toJsonLine(statusJson(status))]
      : renderStatus(status, screenOf(process.stdout, process.env), Date.now());
    process.stdout.write(`${lines.join("\n")}\n`);
    return 0;
  } finally {
    client.close();
  }
}

export const command: Command = {
  summary: "shows how a running sensor stands: mails, verdicts, destinations",
  usage: USAGE,
  run,
};
