/**
 * Takes the mail in a file apart as a helper does and says as one line of JSON what that took. `bun measured.ts FILE`.
 */
import { readFileSync } from "node:fs";
import { takeApart } from "../../../src/extract/take-apart.ts";
import { BOUNDS } from "./mails.ts";

const [path = ""] = process.argv.slice(2);
const raw = await Bun.file(path)
  .slice(0, BOUNDS.max_mail_size + 1)
  .bytes();
const begin = performance.now();
const { attachments, urls, flags, complete } = await takeApart(raw, BOUNDS);
const ms = Math.round(performance.now() - begin);
const peak = Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "latin1"))?.[1]) * 1024;
process.stdout.write(
  `${JSON.stringify({ ms, peak, attachments: attachments.length, urls: urls.length, flags, complete })}\n`,
);
