/**
 * Reads the files that open a page when they are clicked: .url of Windows (sections of name=value), .desktop of
 * freedesktop.org, .webloc of macOS (a property list, as XML or binary). Their names do not matter here.
 */
import { createReading, type Limits, type Reading } from "../reading.ts";
import { urlsInCode } from "./text.ts";

const SOURCE = "shortcut";
const MAX_LINE = 8192;
/** Values that may be or hold a URL; `exec` is a command line. */
const KEYS: ReadonlySet<string> = new Set([
  "url",
  "baseurl",
  "origurl",
  "iconfile",
  "icon",
  "workingdirectory",
  "exec",
  "tryexec",
  "path",
]);
const SHARE = /^(?:file:[/\\]{2,5}(?![a-z][:|])|\\\\)([^/\\\s]+)/i;

/** `text`: the file decoded; a binary one as Latin-1. */
export function readShortcut(text: string, limits: Limits): Reading {
  const reading = createReading(limits);
  if (/^\s*(?:<|bplist)/.test(text.slice(0, 256))) {
    const plain = text.replaceAll("&amp;", "&");
    for (const url of urlsInCode(plain)) {
      if (!/^https?:\/\/www\.apple\.com\/DTDs\//i.test(url) && !reading.url(url, SOURCE)) break;
    }
    return reading.done();
  }
  for (const line of text.split(/\r\n|\n|\r|\0/)) {
    const pair = /^\s{0,64}([\w-]{1,64})(?:\[[\w@.-]{1,32}\])?\s{0,64}=(.*)$/.exec(line.slice(0, MAX_LINE));
    if (pair === null || !KEYS.has((pair[1] ?? "").toLowerCase())) continue;
    const value = (pair[2] ?? "").trim().replace(/^"|"$/g, "");
    const share = shareUrl(value);
    if (share !== null) {
      reading.flag("file_share_link");
      if (share !== "") reading.url(share, SOURCE);
    } else if (/^(?:https?|ftp):/i.test(value)) {
      reading.url(value, SOURCE);
    } else {
      for (const url of urlsInCode(value)) reading.url(url, SOURCE);
    }
  }
  return reading.done();
}

/** The web address of a file share that Windows reaches over HTTP (\\host@80\path), "" of another, null of none. */
function shareUrl(value: string): string | null {
  const host = SHARE.exec(value)?.[1];
  if (host === undefined || host.toLowerCase() === "localhost") return null;
  const web = /^([^@]+)@(?:(ssl)(?:@(\d{1,5}))?|(\d{1,5}))$/i.exec(host);
  if (web === null) return "";
  const [, name, secure, securePort, port] = web;
  const path = value.slice(value.indexOf(host) + host.length).replaceAll("\\", "/");
  const origin =
    secure === undefined ? `http://${name}:${port}` : `https://${name}${securePort ? `:${securePort}` : ""}`;
  return origin + path;
}
