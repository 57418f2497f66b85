/** What every client of an HTTP service needs of its answers: a bound on the body, and how long to wait. */

/** The body as text of UTF-8; null where it has more than `max` bytes: the rest is not read. */
export async function boundedText(response: Response, max: number): Promise<string | null> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > max) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/**
 * Retry-After (RFC 9110 section 10.2.3: seconds or a date) in milliseconds from `now`, at most `longest`; null where it
 * is missing or unreadable.
 */
export function retryAfter(headers: Headers, now: number, longest: number): number | null {
  const value = headers.get("retry-after")?.trim() ?? "";
  const date = /^[A-Za-z]{3,9},? /.test(value) ? Date.parse(value) : Number.NaN;
  const wait = /^\d{1,9}$/.test(value) ? Number(value) * 1000 : date - now;
  return Number.isNaN(wait) ? null : Math.min(Math.max(wait, 0), longest);
}
