/**
 * Takes the mail in a file apart as a helper does and says as one line of JSON what that took: milliseconds of CPU, and
 * bytes of memory at most. `bun measured.ts FILE`.
 */
import { readFileSync } from "node:fs";
import { takeApart } from "../../../src/extract/take-apart.ts";
import { BOUNDS } from "./mails.ts";

const [path = ""] = process.argv.slice(2);
const raw = await Bun.file(path)
  .slice(0, BOUNDS.max_mail_size + 1)
  .bytes();
const begin = process.cpuUsage();
const { attachments, urls, flags, complete } = await takeApart(raw, BOUNDS);
const { user, system } = process.cpuUsage(begin);
const ms = Math.round((user + system) / 1000);
const peak = Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "latin1"))?.[1]) * 1024;
process.stdout.write(
  `${JSON.stringify({ ms, peak, attachments: attachments.length, urls: urls.length, flags, complete })}\n`,
);
