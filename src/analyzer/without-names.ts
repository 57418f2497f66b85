/**
 * Takes the names of accounts, customers and people out of an error text of VMRay. Pure, in linear time.
 *
 * A name is what follows a word like "account" or "user", up to a word or a sign that no name has. Whether a word is part
 * of a name is a guess, and where it is in doubt it is one: a name too many costs a word, one too few tells a stranger.
 */

const words = (text: string): ReadonlySet<string> => new Set(text.split(/\s+/));

/** What a name follows; where it is the second part, a space or a mark that says that a value comes. */
const INTRODUCED =
  /(?<![\w-])(accounts?|customers?|owners?|submitters?|tenants?|organi[sz]ations?|company|licensees?|user ?names?|users?|api[ _-]?key|login|contact|(?:submitted|requested|owned|created|uploaded) by|(?:licensed|registered|issued|belongs) to)(\s?[:=]\s?|\s)/gi;

/** These say who only with a sign behind them: "login failed", but "login: jdoe". */
const ONLY_MARKED = words("login");
/** What follows its sign is a reason more often than a name: "invalid API key: access denied". */
const NEVER_MARKED = /^api/i;

/** Between the two: "account name ACME", "user named jdoe". */
const LINKS = words("name named called id no. number person");

/** Nothing with these goes on as a name: they begin what is said about it. */
const SAYING = words(
  `a all already an any are as at be been but by can cannot could denied did do does exceeded exceeds expired failed for
  from had has have if in into is it its lacks locked may might more must needs no none not of on only or over please
  reached requested requires shall should that the their this to until up used uses via vmray vmray's was were when which
  while who will with within without would you your`,
);

/** After "user" and the like these make another thing of it: "user agent", "account limit". */
const THINGS = words(
  `access accounts account action actions activated activity address admin admins administrator administrators agent
  authentication authorisation authorization balance blocked brand cancelled canceled code config configuration control
  creation credentials credential data database defined desktop details directory disabled environment error errors file
  files folder folders group groups home info information input interaction interface invalid key keys level licence
  license limit limits locked login logo management manager menu missing mode name names page password passwords
  permission permissions phishing plan policies policy portal process profile quota quotas rate request requests right
  rights role roles sales session sessions setting settings side site space specific support suspended subscription
  takeover team test token type types unknown website`,
);

/** Inside of a name where a word in capitals follows: "Bank of America", "Smith and Sons". */
const JOINING = words("& and of the");
const ABBREVIATED = /^(?:\p{L}|co|corp|dr|inc|llc|ltd|mr|mrs|ms|prof|st)\.$/iu;

const WORD = /[^\s,;:!?()[\]{}<>"\u201c\u201d`|=]+/y;
/** Part of a name in parentheses: "ACME (EU) Ltd"; not "(5/5 used". */
const ASIDE = /\(([^()\d][^()]{0,60})\)/y;

const capital = (word: string): boolean => /^[\p{Lu}\p{Lt}]/u.test(word);

/** The text, on one line, with "(name removed)" in the place of each name. */
export function withoutNames(line: string): string {
  let shown = "";
  let from = 0;
  INTRODUCED.lastIndex = 0;
  for (let found = INTRODUCED.exec(line); found !== null; found = INTRODUCED.exec(line)) {
    const [whole, who = "", mark = ""] = found;
    const begin = found.index + whole.length;
    const marked = mark.trim() !== "";
    if (marked ? NEVER_MARKED.test(who) : ONLY_MARKED.has(who.toLowerCase())) continue;
    if (/^contact$/i.test(who) && !marked && !namesPerson(line, found.index, begin)) continue;
    const start = afterLink(line, begin);
    const end = endOfName(line, start, { who, marked });
    if (end === start) continue;
    shown += `${line.slice(from, start)}(name removed)`;
    from = end;
    INTRODUCED.lastIndex = end;
  }
  return shown + line.slice(from);
}

/** Malware contacts servers: only a word in capitals that nobody is said to want to contact is a person. */
function namesPerson(line: string, at: number, begin: number): boolean {
  return (
    !/\bto $/i.test(line.slice(Math.max(0, at - 4), at)) &&
    /^\p{Lu}\p{Ll}/u.test(line.slice(begin, begin + 4))
  );
}

function wordAt(line: string, at: number): string {
  WORD.lastIndex = at;
  return WORD.exec(line)?.[0] ?? "";
}

/** Where the word after a space begins; `at` itself where none follows it. */
function afterSpace(line: string, at: number): number {
  return line[at] === " " && at + 1 < line.length ? at + 1 : at;
}

function afterLink(line: string, at: number): number {
  const word = wordAt(line, at);
  if (!LINKS.has(word.toLowerCase())) return at;
  const mark = /\s?[:=]?\s?/y;
  mark.lastIndex = at + word.length;
  mark.exec(line);
  return mark.lastIndex;
}

/** Where the name that begins at `start` ends; `start` where there is none. */
function endOfName(
  line: string,
  start: number,
  { who, marked }: { readonly who: string; readonly marked: boolean },
): number {
  let end = start;
  for (let at = start; at < line.length; ) {
    const first = end === start;
    const aside = first ? null : asideAt(line, at);
    if (aside !== null) {
      end = at + aside.length;
      at = afterSpace(line, end);
      if (at === end) return end;
      continue;
    }
    const word = wordAt(line, at);
    if (word === "" || /^[-\u2013\u2014]+$/.test(word)) return end;
    const lower = word.toLowerCase().replace(/\.$/, "");
    const thing = THINGS.has(lower) && (first ? !marked && (capital(who) || !capital(word)) : !capital(word));
    if (thing || introduces(word)) return end;
    const joins = JOINING.has(lower) && capital(wordAt(line, afterSpace(line, at + word.length)));
    if (!joins && SAYING.has(lower) && !(first && marked)) return end;
    end = at + word.length;
    if (word.endsWith(".") && !ABBREVIATED.test(word)) return end - 1;
    at = afterSpace(line, end);
    if (at === end) return end;
  }
  return end;
}

function introduces(word: string): boolean {
  return /^(?:accounts?|customer|owner|user|username|contact|tenant)$/.test(word);
}

function asideAt(line: string, at: number): string | null {
  ASIDE.lastIndex = at;
  const [whole, inside = ""] = ASIDE.exec(line) ?? [];
  if (whole === undefined) return null;
  const says = inside.split(" ").some((each) => {
    const word = each.toLowerCase();
    return SAYING.has(word) || THINGS.has(word) || introduces(word) || word === "removed";
  });
  return says ? null : whole;
}
