/**
 * Defanging: text in which no mail program finds anything to make a link of.
 *
 * Pure and linear: hxxp[:]//host[.]example, user@host[.]example, mailto[:]user, \\[host]\share.
 */
import { showText } from "../text.ts";

/**
 * File names are broken too: many of their endings (.com, .zip, .app) are domains. Whatever is no
 * white space and no punctuation may be of a label: there are domains of emoji.
 */
export function defang(text: string): string {
  return text
    .replace(/\b(h)tt(ps?)\b/gi, "$1xx$2")
    .replace(/\bftp(s?)(?=:)/gi, "fxp$1")
    .replace(/\b([a-z][a-z0-9+.-]{1,30}):(?=[^\s\]])/gi, "$1[:]")
    .replace(/:(?=\/\/)/g, "[:]")
    .replace(/([\\/]{2})(?=[^\s\\/[])([^\s\\/]{1,255})(?=\\)/g, "$1[$2]")
    .replace(/(?<=[^\s\p{P}]|[_\]-])[.\u3002\uFF0E\uFF61](?=[^\s\p{P}]|[_[-])/gu, "[.]");
}

/** One line of hostile text for people, at most `max` UTF-16 units before it is defanged. */
export function showDefanged(text: string, max: number): string {
  return defang(showText(text, max));
}
