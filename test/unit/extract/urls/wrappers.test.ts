import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { createUrlCollector } from "../../../../src/extract/urls/collector.ts";
import type { UrlFlag } from "../../../../src/extract/urls/flags.ts";
import { MAX_UNWRAPPED, namedDomain, unwrapUrl } from "../../../../src/extract/urls/wrappers.ts";

const T = "https://target.example/p?a=b";
const E = encodeURIComponent(T);
const B = Buffer.from(T).toString("base64url");

describe("unwrapping", () => {
  test.each<[string, string, string]>([
    [
      "SafeLinks",
      `https://eur01.safelinks.protection.outlook.com/?url=${E}&data=05%7C01&sdata=x%3D&reserved=0`,
      T,
    ],
    [
      "SafeLinks of an app",
      `https://gcc02.safelinks.protection.outlook.com/ap/w-59584e83/?url=${E}&data=05`,
      T,
    ],
    [
      "SafeLinks of Teams",
      `https://statics.teams.cdn.office.net/evergreen/atp-safelinks.html?url=${E}&locale=en`,
      T,
    ],
    ["URL Defense 1", `https://urldefense.proofpoint.com/v1/url?u=${E}&k=abc&r=x`, T],
    [
      "URL Defense 2",
      "https://urldefense.proofpoint.com/v2/url?u=https-3A__target.example_p-3Fa-3Db-5F-2D&d=DwMF&c=x",
      "https://target.example/p?a=b_-",
    ],
    ["URL Defense 3", "https://urldefense.com/v3/__https://target.example/p?a=b__;!!AbC!x$", T],
    ["URL Defense 3 with one slash", "https://urldefense.us/v3/__https:/target.example/p?a=b__;!!AbC!x$", T],
    [
      "URL Defense 3 with replacements",
      `https://urldefense.com/v3/__https://target.example/*2F*q**Ax__;${Buffer.from("%äüö").toString("base64url")}!!AbC!x$`,
      "https://target.example/%2Fäqüöx",
    ],
    ["Barracuda", `https://linkprotect.cudasvc.com/url?a=${E}&c=E,1,x&typo=1`, T],
    ["Cisco", `https://secure-web.cisco.com/1AbC-d_e/${E}`, T],
    ["Symantec", `https://clicktime.symantec.com/abc?u=${E}`, T],
    ["Trend Micro", `https://imsva91-ctp.trendmicro.com/wis/clicktime/v1/query?url=${E}&umid=x&auth=y`, T],
    ["Sophos", `https://eu-west-1.protection.sophos.com?d=target.example&u=${B}&i=x&t=y`, T],
    ["FireEye", `https://protect2.fireeye.com/v1/url?k=x&q=1&e=y&u=${E}`, T],
    ["Google", `https://www.google.com/url?sa=t&q=${E}&usg=x`, T],
    [
      "Google with an unescaped target",
      "https://www.google.de/url?q=https://target.example/p&sa=D",
      "https://target.example/p",
    ],
    [
      "Google without a scheme",
      "https://www.google.com/url?q=www.target.com/p&sa=D",
      "http://www.target.com/p",
    ],
    ["AMP of Google", "https://www.google.com/amp/s/target.com/p?a=b", "https://target.com/p?a=b"],
    ["AMP cache", "https://target-com.cdn.ampproject.org/c/s/target.com/p", "https://target.com/p"],
    [
      "Google Translate",
      "https://my--site-target-com.translate.goog/p?_x_tr_sl=de&a=b",
      "https://my-site.target.com/p?a=b",
    ],
    ["Bing", `https://www.bing.com/ck/a?!&&p=0&ptn=3&u=a1${B}&ntb=1`, T],
    ["Facebook", `https://l.facebook.com/l.php?u=${E}&h=x`, T],
    ["LinkedIn", `https://www.linkedin.com/redir/redirect?url=${E}&urlhash=x`, T],
    ["YouTube", `https://www.youtube.com/redirect?event=x&q=${E}`, T],
    ["Slack", `https://slack-redir.net/link?url=${E}`, T],
    ["Steam", `https://steamcommunity.com/linkfilter/?u=${E}`, T],
    ["VK", `https://vk.com/away.php?to=${E}`, T],
    ["Yahoo", `https://r.search.yahoo.com/_ylt=x/RV=2/RE=1/RO=10/RU=${E}/RK=2/RS=x-`, T],
    ["DuckDuckGo", `https://duckduckgo.com/l/?uddg=${E}&rut=x`, T],
    ["Amazon SES", `https://x.r.us-east-1.awstrack.me/L0/${E.replace("%3A", ":")}/1/0100-0000/abc=123`, T],
    ["Wayback Machine", `https://web.archive.org/web/2024/${T}`, T],
    ["a path with one slash", "https://r.example/go/https:/target.example/p?a=b", T],
    ["base64 in the path", `https://r.example/c/${B}/x`, T],
    ["a semicolon", `https://r.example/?x=1;to=${E};y=2`, T],
    ["twice escaped", `https://r.example/?to=${encodeURIComponent(E)}`, T],
    ["the fragment", `https://r.example/#${T}`, T],
    ["base64 in the fragment", `https://r.example/#/r?to=${B}`, T],
    ["upper case", `https://r.example/?to=${E.replace("https", "HTTPS")}`, T],
  ])("%s", (_, wrapper, target) => {
    expect(unwrapUrl(wrapper).map((url) => url.toLowerCase())).toEqual([target.toLowerCase()]);
  });

  test("stops where the parameter ends", () => {
    expect(unwrapUrl("https://r.example/?to=https://t.example/?a=1&b=2;c")).toEqual([
      "https://t.example/?a=1",
    ]);
  });

  test.each([
    "https://r.example/?to=target",
    "https://r.example/?page=/http/x",
    "https://u1234.ct.sendgrid.net/ls/click?upn=u001.AbCdEfGh-2B",
    "https://protect-us.mimecast.com/s/AbC?domain=target.com",
    "https://urldefense.com/v3/__;!!",
    "https://r.example/?u=aHR0cA",
    "mailto:x@example.com?u=https://t.example/",
    "no url",
  ])("gives nothing for %s", (url) => {
    expect(unwrapUrl(url)).toEqual([]);
  });

  test("names the domain where the target itself is not there", () => {
    expect(namedDomain(new URL("https://protect-us.mimecast.com/s/AbC?domain=target.com"))).toBe(
      "target.com",
    );
    expect(namedDomain(new URL("https://protect-us.mimecast.com/s/AbC?domain=x"))).toBeNull();
    expect(namedDomain(new URL("https://other.example/s/AbC?domain=target.com"))).toBeNull();
  });
});

describe("wrappers in wrappers", () => {
  const nested = (depth: number): string => {
    let url = T;
    for (let level = 0; level < depth; level++)
      url = `https://w${level}.example/?u=${encodeURIComponent(url)}`;
    return url;
  };
  function collect(url: string) {
    const flags: UrlFlag[] = [];
    const collector = createUrlCollector({ max: 500, recipients: [], onFlag: (flag) => flags.push(flag) });
    collector.addUrl(url, "text");
    return { found: collector.found(), flags };
  }

  test("are opened one after the other, each with where it came from", () => {
    const { found, flags } = collect(nested(3));
    expect(
      found.map(({ normalized, sources, unwrapped_from }) => [
        new URL(normalized).hostname,
        sources,
        unwrapped_from,
      ]),
    ).toEqual([
      ["w2.example", ["text"], undefined],
      ["w1.example", ["text"], [found[0]?.normalized ?? ""]],
      ["w0.example", ["text"], [found[1]?.normalized ?? ""]],
      ["target.example", ["text"], [found[2]?.normalized ?? ""]],
    ]);
    expect(flags).toEqual([]);
  });

  test("deeper than five, or more than twenty, are a flag", () => {
    expect(collect(nested(5)).flags).toEqual([]);
    expect(collect(nested(6))).toMatchObject({ found: { length: 6 }, flags: ["url_targets_exceeded"] });
    const many = Array.from({ length: 30 }, (_, index) => `u=http://t${index}.example/`).join("&");
    expect(collect(`http://w.example/?${many}`)).toMatchObject({
      found: { length: MAX_UNWRAPPED + 1 },
      flags: ["url_targets_exceeded"],
    });
  });

  test("that lead back to themselves end", () => {
    expect(collect("http://a.example/?u=http://a.example/").found).toHaveLength(2);
  });

  test("pass every place they were found at on to what they carry", () => {
    const collector = createUrlCollector({ max: 500, recipients: [], onFlag: () => {} });
    collector.addUrl(nested(2), "text");
    collector.addUrl(T, "subject");
    collector.addUrl(nested(2), "html");
    expect(collector.found().map(({ sources }) => sources)).toEqual([
      ["text", "html"],
      ["text", "html"],
      ["text", "subject", "html"],
    ]);
  });
});

test("any target in any parameter is found, and nothing throws", () => {
  const host = fc.constantFrom(
    "https://a.example",
    "http://b.example:81",
    "https://urldefense.com/v3/__",
    "http://x.translate.goog",
  );
  fc.assert(
    fc.property(host, fc.webUrl({ withQueryParameters: true }), fc.string(), (start, target, noise) => {
      expect(
        unwrapUrl(`https://r.example/?${encodeURIComponent(noise)}&to=${encodeURIComponent(target)}`),
      ).toContain(target);
      expect(Array.isArray(unwrapUrl(`${start}/${noise}?${noise}&u=${target}#${noise}`))).toBe(true);
    }),
    { numRuns: 500 },
  );
});
