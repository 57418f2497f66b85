/**
 * Popular hosts on which anybody puts content or targets of their own: that a host is popular says nothing about
 * what it shows. Each stands for all below it. What the public suffix list knows as such (github.io, blogspot.com,
 * pages.dev, web.app, s3.amazonaws.com and many more) needs no line here: a popular domain does not cover what
 * other people register below a public suffix.
 */
import { readHost } from "./hosts.ts";

const HOSTS: readonly string[] = [
  // files
  "1drv.ms",
  "4shared.com",
  "anonfiles.com",
  "archive.org",
  "backblazeb2.com",
  "box.com",
  "catbox.moe",
  "cdn.discordapp.com",
  "cloud.mail.ru",
  "digitaloceanspaces.com",
  "disk.yandex.com",
  "disk.yandex.ru",
  "docs.google.com",
  "drive.google.com",
  "drive.usercontent.google.com",
  "dropbox.com",
  "dropboxusercontent.com",
  "egnyte.com",
  "file.io",
  "filebin.net",
  "filemail.com",
  "firebasestorage.googleapis.com",
  "fex.net",
  "gofile.io",
  "googleusercontent.com",
  "icloud.com",
  "mediafire.com",
  "media.discordapp.net",
  "mega.co.nz",
  "mega.nz",
  "onedrive.com",
  "onedrive.live.com",
  "pcloud.com",
  "pixeldrain.com",
  "sendgb.com",
  "sendspace.com",
  "sharefile.com",
  "sharepoint.com",
  "smash.com",
  "storage.googleapis.com",
  "storage.live.com",
  "swisstransfer.com",
  "terabox.com",
  "transfer.sh",
  "transfernow.net",
  "uploadfiles.io",
  "wasabisys.com",
  "wetransfer.com",
  "we.tl",
  "windows.net",
  "workupload.com",
  "zippyshare.com",
  // code and texts
  "atlassian.net",
  "bitbucket.org",
  "codeberg.org",
  "gist.github.com",
  "github.com",
  "gitlab.com",
  "githubusercontent.com",
  "hastebin.com",
  "npmjs.com",
  "pastebin.com",
  "paste.ee",
  "pypi.org",
  "rentry.co",
  "sourceforge.net",
  "telegra.ph",
  // pages, forms and boards
  "about.me",
  "airtable.com",
  "bubble.io",
  "canva.com",
  "carrd.co",
  "clickfunnels.com",
  "clickup.com",
  "coda.io",
  "cognitoforms.com",
  "evernote.com",
  "figma.com",
  "forms.gle",
  "forms.office.com",
  "formstack.com",
  "framer.com",
  "genially.com",
  "genial.ly",
  "gitbook.io",
  "hubspotpagebuilder.com",
  "issuu.com",
  "jimdo.com",
  "jotform.com",
  "linktr.ee",
  "mailchi.mp",
  "medium.com",
  "miro.com",
  "monday.com",
  "notion.site",
  "notion.so",
  "padlet.com",
  "prezi.com",
  "scribd.com",
  "sites.google.com",
  "slack-files.com",
  "slideshare.net",
  "smartsheet.com",
  "softr.app",
  "squarespace.com",
  "strikingly.com",
  "surveymonkey.com",
  "sway.cloud.microsoft",
  "sway.office.com",
  "tally.so",
  "trello.com",
  "tumblr.com",
  "typeform.com",
  "webflow.io",
  "weebly.com",
  "wix.com",
  "wixsite.com",
  "wordpress.com",
  "wufoo.com",
  "zoho.com",
  "zohopublic.com",
  // signatures and messages that strangers send
  "adobe.com",
  "docsend.com",
  "docusign.com",
  "docusign.net",
  "dropboxsign.com",
  "hellosign.com",
  "pandadoc.com",
  // short forms and redirectors
  "adf.ly",
  "aka.ms",
  "amzn.to",
  "app.link",
  "bit.do",
  "bit.ly",
  "buff.ly",
  "clck.ru",
  "cutt.ly",
  "dlvr.it",
  "fb.me",
  "goo.gl",
  "goo.su",
  "hubs.ly",
  "ift.tt",
  "is.gd",
  "j.mp",
  "l.facebook.com",
  "lnkd.in",
  "lm.facebook.com",
  "on.link",
  "ow.ly",
  "page.link",
  "qr.io",
  "qrco.de",
  "rb.gy",
  "rebrand.ly",
  "s.id",
  "shorturl.at",
  "shorte.st",
  "smarturl.it",
  "snip.ly",
  "spoti.fi",
  "surl.li",
  "t.co",
  "t.ly",
  "t.me",
  "tiny.cc",
  "tinyurl.com",
  "trib.al",
  "u.to",
  "urlz.fr",
  "v.gd",
  "vk.cc",
  "wp.me",
  "youtu.be",
  // advertising and mailing services that lead on to what their customers say
  "adclick.g.doubleclick.net",
  "ad.doubleclick.net",
  "campaign-archive.com",
  "click.pstmrk.it",
  "constantcontact.com",
  "ct.sendgrid.net",
  "doubleclick.net",
  "exacttarget.com",
  "googleadservices.com",
  "hubspotlinks.com",
  "list-manage.com",
  "mailgun.org",
  "mandrillapp.com",
  "rs6.net",
  "sendgrid.net",
  "sendibt2.com",
  "translate.goog",
  "translate.google.com",
  // tunnels
  "loca.lt",
  "ngrok.app",
  "ngrok.io",
  "serveo.net",
  "trycloudflare.com",
];

const USER_CONTENT: ReadonlySet<string> = new Set(HOSTS);

/** A host with the domains it lies in (`withParents`). */
export function showsUserContent(names: readonly string[]): boolean {
  return names.some((name) => USER_CONTENT.has(name));
}

/** Another URL within a text: its scheme, or slashes where a path or the value of a parameter begins; then its host. */
const CARRIED = /(?:(?:https?|ftp):[/\\]*|(?:^|[=,;|])[/\\]{2,})([^/\\?#\s]*)/gi;
/** As often as that may a carried URL be escaped: nobody has a good reason for more. */
const MAX_LEVELS = 5;

/**
 * True where a URL in normal form carries another one, plain or escaped, behind its own host, of which one host at least
 * is not harmless: a redirector leads there. What cannot be read is not harmless. A path that begins with `//` carries one
 * as well, since servers that redirect to a path send browsers there.
 */
export function carriesOther(normalized: string, isHarmless: (host: string) => boolean): boolean {
  const own = /^[a-z]+:\/\/[^/?#]*/.exec(normalized)?.[0] ?? "";
  return normalized
    .slice(own.length)
    .split("&")
    .some((part) => partCarriesOther(part, isHarmless));
}

/** `written` has no & but an escaped one. */
function partCarriesOther(written: string, isHarmless: (host: string) => boolean): boolean {
  let text = written;
  for (let level = 0; level < MAX_LEVELS; level++) {
    const next = unescaped(text);
    for (const [, authority = ""] of text.matchAll(CARRIED)) {
      // What is still escaped is looked at when it is not.
      if (authority.includes("%") && next !== text) continue;
      // Whoever takes the value apart once more ends it at the &; browsers do not.
      const ends = [authority, authority.split("&", 1)[0] ?? ""];
      if (ends.some((each) => each !== "" && !isHarmlessAuthority(each, isHarmless))) return true;
    }
    if (next === text) return false;
    text = next;
  }
  return true;
}

function isHarmlessAuthority(authority: string, isHarmless: (host: string) => boolean): boolean {
  const host = readHost(authority.slice(authority.lastIndexOf("@") + 1).replace(/:\d*$/, ""));
  return host !== null && isHarmless(host);
}

/** As a server reads it; what browsers leave out of a URL is left out. */
function unescaped(text: string): string {
  if (!text.includes("%")) return text;
  return text
    .replace(/(?:%[0-9a-f]{2})+/gi, (run) => Buffer.from(run.replaceAll("%", ""), "hex").toString("utf8"))
    .replace(/[\t\r\n]+/g, "");
}
