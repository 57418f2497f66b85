/**
 * `status`: how a running sensor stands, on one screen.
 */
import type { Status } from "../../gen/emailsensor/v1/sensor.ts";
import { type AnalyzerJson, destinationWord, statusJson } from "../control/json.ts";
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
  const { analyzer } = json;
  const lines = [
    line("sensor", `${printable(json.sensor?.id ?? "?")}, version ${printable(json.sensor?.version ?? "?")}`),
    line("running", `${formatDuration(json.uptime_seconds * 1000)}, since ${longTime(status.startedAt)}`),
    line("mails", counts(json.mails, screen)),
    line("verdicts", counts(json.verdicts, screen)),
    line("analyses", counts(json.analyses, screen)),
    ...(analyzer === null
      ? [line("analyzer", "not running")]
      : [analyzer, ...json.further_analyzers].flatMap((one) => analyzerLines(one, line, screen, now))),
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
      { title: "refused", align: "right" },
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
      String(destination.refused),
      destination.lastError ?? "",
    ]),
    screen.width,
    (cell, row, column) => (column === 1 ? screen.colour(states[row] ?? "", cell) : cell),
  );
  return [...lines, "", ...table];
}

function analyzerLines(
  analyzer: AnalyzerJson,
  line: (title: string, text: string) => string,
  screen: Screen,
  now: number,
): readonly string[] {
  const name = analyzer.name === undefined ? "" : `${printable(analyzer.name)}: `;
  return [
    line(
      "analyzer",
      analyzer.paused_reason === null
        ? `${name}working, ${analyzer.running} of ${analyzer.open} at the moment`
        : `${name}${screen.colour("suspicious", "paused")}: ${printable(analyzer.paused_reason)}`,
    ),
    line("calls", callsText(analyzer, screen, now)),
    line("waiting", counts(analyzer.waiting, screen)),
    line("budget", budgetText(analyzer.budget, screen, now)),
    line("quota", quotaText(analyzer)),
    ...(analyzer.last_error === null
      ? []
      : [line("last fault", `${since(analyzer.last_error_at, now)} ago: ${printable(analyzer.last_error)}`)]),
  ];
}

function counts(of: Readonly<Record<string, number>>, screen: Screen): string {
  return Object.entries(of)
    .map(([word, number]) => `${number} ${screen.colour(number > 0 ? word : "", word)}`)
    .join("  ");
}

const since = (time: string | null, now: number): string =>
  formatDuration(time === null ? 0 : Math.max(0, now - Date.parse(time)));
const until = (time: string | null, now: number): string =>
  formatDuration(time === null ? 0 : Math.max(0, Date.parse(time) - now));

function callsText(analyzer: AnalyzerJson, screen: Screen, now: number): string {
  const text = (what: string, { state, reason, retry_at }: AnalyzerJson["lookups"]) =>
    state === "shut" || state === "trial"
      ? `${what} ${screen.colour("suspicious", state === "shut" ? "paused" : "tried one at a time")}` +
        ` (${printable(reason ?? "?")}), next in ${until(retry_at, now)}`
      : `${what} ${state === "open" ? "made" : state}`;
  return `${text("look-ups", analyzer.lookups)}, ${text("submissions", analyzer.submissions)}`;
}

function budgetText(budget: AnalyzerJson["budget"], screen: Screen, now: number): string {
  const parts = [
    budget.per_day === null
      ? `${budget.used} analyses today, no limit`
      : `${budget.used} of ${budget.per_day} analyses today, ${budget.reserve} of them for high priority`,
    `new in ${until(budget.renews_at, now)}`,
  ];
  if (budget.per_day !== null) {
    const instead = `${budget.when_used_up ?? "unknown"} instead`;
    parts.push(budget.used_up ? screen.colour("suspicious", `used up: ${instead}`) : `then ${instead}`);
  }
  if (budget.quota_retry_at !== null) {
    const next = `VMRay's quota is used up, next try in ${until(budget.quota_retry_at, now)}`;
    parts.push(screen.colour("suspicious", next));
  }
  return parts.join("; ");
}

function quotaText({ quota }: AnalyzerJson): string {
  if (quota === null) return "not told by VMRay";
  const text = (
    what: string,
    { limit, used }: { readonly limit: number | string | null; readonly used: number | null },
  ) => (used === null && typeof limit !== "number" ? [] : [`${what} ${used ?? "?"} of ${limit ?? "?"} used`]);
  // Only a key has none by 0; a licence with 0 reports has no reports.
  const key = quota.key.limit === 0 ? { ...quota.key, limit: "any number" } : quota.key;
  const parts = [
    ...text("API key", key),
    ...text("reports", quota.report),
    ...text("verdicts", quota.verdict),
    ...(quota.period === null ? [] : [`period: ${printable(quota.period)}`]),
  ];
  return parts.length === 0 ? "not told by VMRay" : parts.join("; ");
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
