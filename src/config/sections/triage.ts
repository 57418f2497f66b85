/** `triage`: what is done with each part of a mail. */
import { z } from "zod";
import { TRACKING_PARAMETERS } from "../../extract/urls/normal-form.ts";
import { noted } from "../note.ts";
import { choice, flag, key, size } from "./kinds.ts";

export const TYPE_GROUPS = [
  "documents",
  "scripts",
  "executables",
  "archives",
  "html",
  "disk_images",
  "shortcuts",
  "mails",
  "images",
  "media",
  "text",
  "other",
] as const;
export type TypeGroup = (typeof TYPE_GROUPS)[number];

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
  })
  .prefault({});
