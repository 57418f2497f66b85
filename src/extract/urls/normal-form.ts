/**
 * The normal form of a URL, for comparing and caching, and what policy may strip from it.
 *
 * In goes a URL as written, out comes its normal form or null. Linear in the length of the URL; nothing throws.
 */

/** Characters of the longest URL that is kept. */
export const MAX_URL_LENGTH = 8192;
/** A host name has at most 253 characters (RFC 1035 2.3.4); more room for one not yet in ASCII form. */
const MAX_WRITTEN_HOST = 512;

/** In place of a base URL: the URL was written without its scheme. */
export const SCHEMELESS = "schemeless";

const SCHEMES: ReadonlySet<string> = new Set(["http:", "https:", "ftp:"]);
/** A label longer than the 63 octets of RFC 1035 2.3.4, as far as that can be seen before it is converted. */
const OVERLONG_LABEL = /[^.\u3002\uff0e\uff61%]{64}/u;
const AUTHORITY = /^(?:[a-z][a-z0-9+.-]*:[/\\]*|[/\\]{2,})([^/\\?#]*)/i;

/**
 * A URL resolved and parsed as browsers do it (WHATWG URL standard: tabs and line breaks fall out, backslashes
 * are slashes, numeric IPv4 addresses and international hosts get their usual form). Null where it is no http,
 * https or ftp URL with a host.
 * `base`: what a relative one is resolved against; SCHEMELESS puts http:// in front.
 */
export function parseUrl(written: string, base?: string): URL | null {
  const value = base === SCHEMELESS ? `http://${written}` : written;
  // Punycode takes quadratic time, so what cannot be a host is not converted.
  const authority = AUTHORITY.exec(withoutBreaks(value))?.[1] ?? "";
  const host = authority.slice(authority.lastIndexOf("@") + 1);
  if (host.length > MAX_WRITTEN_HOST || OVERLONG_LABEL.test(host)) return null;
  const url = URL.parse(value, base === SCHEMELESS ? undefined : base);
  if (url === null || !SCHEMES.has(url.protocol)) return null;
  const { hostname } = url;
  if (hostname.endsWith(".")) url.hostname = hostname.replace(/\.+$/, "");
  return url.hostname === "" || url.hostname.endsWith(".") ? null : url;
}

function withoutBreaks(value: string): string {
  return /[\t\r\n]/.test(value) ? value.replace(/[\t\r\n]+/g, "") : value;
}

/**
 * The normal form of a URL: as the WHATWG URL standard writes it (host in lower case and ASCII, default port and
 * dot segments gone), escapes of unreserved characters decoded and all others in upper case (RFC 3986 6.2.2),
 * without the dot at the end of the host, an empty query, and the fragment. A fragment never reaches a server;
 * that of a page which finds its way by it ("#/login", "#!") is dropped as well.
 */
export function normalizeUrl(written: string, base?: string): string | null {
  const url = parseUrl(written, base);
  return url === null ? null : normalFormOf(url);
}

export function normalFormOf(parsed: URL): string {
  const { href } = parsed;
  const hash = href.indexOf("#");
  const whole = hash < 0 ? href : href.slice(0, hash);
  return normalEscapes(
    whole.endsWith("?") && whole.indexOf("?") === whole.length - 1 ? whole.slice(0, -1) : whole,
  );
}

const UNRESERVED = /[A-Za-z0-9\-._~]/;

function normalEscapes(url: string): string {
  if (!url.includes("%")) return url;
  return url.replace(/%[0-9a-f]{2}/gi, (written, at: number) => {
    const char = String.fromCharCode(Number.parseInt(written.slice(1), 16));
    // A percent sign just before would make a new escape of what is decoded here.
    const plain = UNRESERVED.test(char) && url[at - 1] !== "%" && url[at - 2] !== "%";
    return plain ? char : written.toUpperCase();
  });
}

/** Parameters that tell who clicked where, and change nothing of what the page shows. A * stands for any end. */
export const TRACKING_PARAMETERS: readonly string[] = [
  "utm_*",
  "mtm_*",
  "pk_campaign",
  "pk_kwd",
  "gclid",
  "gclsrc",
  "dclid",
  "gbraid",
  "wbraid",
  "fbclid",
  "msclkid",
  "yclid",
  "twclid",
  "ttclid",
  "igshid",
  "mc_cid",
  "mc_eid",
  "mkt_tok",
  "_hsenc",
  "_hsmi",
  "__hssc",
  "__hstc",
  "__hsfp",
  "hsctatracking",
  "vero_id",
  "vero_conv",
  "oly_anon_id",
  "oly_enc_id",
  "_openstat",
  "ml_subscriber",
  "ml_subscriber_hash",
  "s_cid",
  "ck_subscriber_id",
  "elqtrackid",
  "trk_contact",
  "trk_msg",
  "sc_eh",
];

/** A normalized URL without the given parameters of its query; names are compared without regard to case. */
export function stripTracking(
  url: string,
  { parameters = TRACKING_PARAMETERS }: { readonly parameters?: readonly string[] } = {},
): string {
  const start = url.indexOf("?");
  if (start < 0) return url;
  const exact = new Set<string>();
  const prefixes: string[] = [];
  for (const name of parameters) {
    if (name.endsWith("*")) prefixes.push(name.slice(0, -1).toLowerCase());
    else exact.add(name.toLowerCase());
  }
  const hash = url.indexOf("#", start);
  const end = hash < 0 ? url.length : hash;
  const kept = url
    .slice(start + 1, end)
    .split("&")
    .filter((parameter) => {
      const name = (parameter.split("=", 1)[0] ?? "").toLowerCase();
      return !exact.has(name) && !prefixes.some((prefix) => name.startsWith(prefix));
    });
  const query = kept.length === 0 ? "" : `?${kept.join("&")}`;
  return url.slice(0, start) + query + url.slice(end);
}
