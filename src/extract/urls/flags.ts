import type { FlagEntry } from "../reading.ts";

/** What the search for URLs notes about a mail. */
export const URL_FLAGS = {
  url_targets_exceeded: {
    complete: false,
    meaning: "A URL wraps more than 20 others, or wraps them deeper than 5 levels; the rest is not opened.",
  },
  html_nesting_exceeded: {
    complete: false,
    meaning:
      "HTML or scripts lie in one another deeper than 4 levels, or are larger together than four times the text " +
      "they lie in; the rest is not searched for URLs.",
  },
  script_exceeded: {
    complete: false,
    meaning: "A script puts texts together for longer than the bound; the rest is searched as it is written.",
  },
  embedded_files_exceeded: {
    complete: false,
    meaning:
      "A text holds more than 1,000 files in data: URLs and scripts; the ones after that are not listed.",
  },
  link_text_mismatch: {
    complete: true,
    meaning: "The text of a link is itself an address in the web, of another domain than the link leads to.",
  },
  url_disguised: {
    complete: true,
    meaning:
      "A link hides its host: invisible characters in it, a host name in front of an @, or an IP address written " +
      "as a number, in hexadecimal or in octal.",
  },
  script_carries_file: {
    complete: true,
    meaning: "A script carries a file that it puts together in the browser (HTML smuggling).",
  },
  file_share_link: {
    complete: true,
    meaning: "A link leads to a file share (file: or \\\\host\\share); opening it gives away a login.",
  },
} as const satisfies Record<string, FlagEntry>;

/** The flags of `extract/flags.ts` that the search for URLs gives as well are named here too. */
export type UrlFlag = keyof typeof URL_FLAGS | "url_too_long" | "urls_exceeded";
