/** `triage`: what is done with each part of a mail. */
import { z } from "zod";
import { TRACKING_PARAMETERS } from "../../extract/urls/normal-form.ts";
import { readHostPattern } from "../../triage/patterns.ts";
import { noted } from "../note.ts";
import { choice, flag, key, path, rule, size, text } from "./kinds.ts";
import { rulesConflicts, TYPE_GROUPS, triageList, triageRule } from "./rules.ts";

const hosts = () => z.array(text("host", readHostPattern)).max(10_000).prefault([]);

export const triageSection = z
  .strictObject({
    analyze: key(
      "Groups of file types that are analysed; the type is detected from the content.",
      z
        .array(choice(TYPE_GROUPS))
        .prefault(["documents", "scripts", "executables", "archives", "html", "disk_images", "shortcuts"]),
    ),
    archives: key(
      "`whole` submits an archive as it is, with its password where one was found; `members` submits what lies in it, each by its own type, where all of it could be unpacked.",
      choice(["whole", "members"]).prefault("whole"),
    ),
    max_size: key("Largest attachment that is submitted.", size("1B", "2GB").prefault("200MB")),
    strip_tracking: key(
      "Whether `tracking_parameters` are taken out of URLs before VMRay is asked: it then learns less about who got a mail, and one answer serves more mails.",
      flag().prefault(false),
    ),
    tracking_parameters: key(
      "Parameters of a URL's query that tell who clicked where and change nothing of the page; a `*` stands for any end.",
      z
        .array(noted(z.string().min(1, "is empty").max(100), { kind: "text" }))
        .max(1000)
        .prefault([...TRACKING_PARAMETERS]),
    ),
    urls: key(
      "`analyse` looks a URL up and submits it where it is unknown, `lookup` only looks it up, `skip` does neither.",
      choice(["analyse", "lookup", "skip"]).prefault("analyse"),
    ),
    own_domains: key(
      "Mail domains of the organisation: they tell the direction of a mail, and URLs of their hosts are skipped. `*.example.org` stands for all below it.",
      hosts(),
      { example: ["example.org", "*.example.org"] },
    ),
    internal_domains: key("Further hosts whose URLs are skipped.", hosts(), {
      example: ["*.corp.example"],
    }),
    popular_domains_file: key(
      "The most visited domains, one a line or as CSV `rank,domain`, of which the first 1,000,000 lines are read: their URLs are skipped, but not where people put content of their own (docs/analysis.md).",
      path("list").optional(),
      { example: "top-1m.csv" },
    ),
    lists: key(
      "Files of what is known to be good or bad; deny beats allow. Such parts are decided without a call.",
      z.array(triageList).max(100).prefault([]),
      { example: [{ list: "deny", kind: "hash", file: "deny-hashes.txt" }] },
    ),
    rules: key(
      "What is done with which parts. The first rule whose conditions hold decides; where none does, the defaults do. docs/analysis.md has an example for each key.",
      z.array(triageRule).max(1000).prefault([]),
      {
        example: [
          {
            name: "finance-macros",
            match: { recipient: "finance@example.org", facts: "macros" },
            action: "dynamic",
            priority: "high",
            vmray: { analysis_timeout: "5m", tags: "finance" },
          },
        ],
      },
    ),
  })
  .check(rule(rulesConflicts))
  .prefault({});
