/**
 * Guesses passwords of archives from what a mail says: what follows a word for "password" first, then what looks
 * like one, then every word.
 *
 * In go texts (subject, bodies, with or without markup; of this mail and those around and in it) and file names;
 * out come distinct candidates, the likelier ones first. Work is linear in the texts, of which TEXT_MAX characters
 * are read, and bounded by `max`.
 */

/** Characters of all texts together that are read. */
const TEXT_MAX = 1024 * 1024;
/** Places of words for "password" that are looked at. */
const MENTIONS_MAX = 500;
/** Characters behind such a word, and words in them. */
const WINDOW = 160;
const WINDOW_WORDS = 8;
const PASSWORD_MAX = 64;

/** Used by those who send samples, and by those who send malware. */
const WELL_KNOWN = [
  "infected",
  "password",
  "1234",
  "12345",
  "123456",
  "123",
  "virus",
  "malware",
  "pass",
  "archive",
];

/**
 * Beginnings of words for password, code and the like; inflected forms begin the same. Of languages that are written
 * without spaces the words stand apart, as nothing need stand in front of them.
 */
const WORDS = [
  "pass|pwd|pw|p/w|psw|pin|pincode|code|key|otp|secret",
  "kennwort|losung|schlüssel|zugang|geheim",
  "mots? de passe|mdp|clé",
  "contrase[nñ]a|clave|código|codigo|senha|palavra|chave|contrasenya",
  "parola|codice|chiave",
  "wachtwoord|toegang|sleutel",
  "l[oö]senord|adgangskode|kodeord|kode|salasana|lykilorð|aðgangsorð",
  "has[lł]|hes[lł]|geslo|lozink|zapork|šifr|sifr|şifre|slaptažod|parol|jelsz",
  "парол|код|лозинк|шифр|ключ",
  "κωδικ|συνθηματικ",
  "סיסמ|קוד|كلمة|رمز",
  "mật khẩu|mat khau|kata sandi|sandi|laluan",
].join("|");
const UNSPACED = "密码|密碼|口令|解压|解壓|验证码|暗号|パスワード|비밀번호|암호|รหัส";
const MENTION = new RegExp(
  `(?<![\\p{L}\\p{N}])(?:${WORDS})\\p{L}{0,12}(?![\\p{L}\\p{N}])|${UNSPACED}`,
  "giu",
);
/** What stands between the word and the password: "is", "ist", "for the file:" and the like say nothing. */
const FILLERS: ReadonlySet<string> = new Set(
  (
    "is are was the a an for to of in your this that following below here file archive attachment zip open it use " +
    "ist lautet der die das für zum zur datei archiv und and or est le la pour fichier es el para archivo è il per " +
    "é o do da het voor это для к от от архива файла на is:"
  ).split(" "),
);
const TAG = /<[a-z/!][^<>]{0,500}>/gi;
const BREAKS = /[\s\u00a0\u3000，。；：、！？（）【】「」『』《》\u200b-\u200f\u2060\ufeff]+/u;
const EDGES = "\"'`“”„‟«»‹›‘’‚()[]{}<>.,;:!?*_|=-–—>#~/\\";
const QUOTED = /["“„«‘'`»「『]([^"“”„«»‘’'`」』\r\n]{1,64})["”“»’'`«」』]/gu;
const VISIBLE_RUN = /[\x21-\x7e]{3,64}/g;
const DIGITS = /(?<!\d)\d{3,12}(?!\d)/g;

export function passwordCandidates(
  texts: readonly string[],
  names: readonly string[],
  max: number,
): readonly string[] {
  const plain = withinBounds(texts).map(withoutMarkup);
  const stems = names.slice(0, 1000).map(stemOf);
  const nameTexts = stems.map((stem) => stem.replace(/[_\-.+]/g, " "));
  const found = new Set<string>();
  const add = (candidate: string): boolean => {
    if (candidate !== "" && candidate.length <= PASSWORD_MAX && found.size < max) found.add(candidate);
    return found.size < max;
  };
  const tiers: readonly (() => Generator<string>)[] = [
    () => afterMentions(plain),
    () => afterMentions(nameTexts),
    () => matches(plain, QUOTED),
    function* () {
      yield* WELL_KNOWN;
    },
    () => loneWords(plain),
    () => matches(plain, DIGITS),
    () => matches(stems, DIGITS),
    () => mixedWords(plain),
    function* () {
      yield* stems;
      yield* allWords(nameTexts);
    },
    () => allWords(plain),
  ];
  for (const tier of tiers) {
    for (const candidate of tier()) {
      if (!add(candidate)) return [...found];
    }
  }
  return [...found];
}

function withinBounds(texts: readonly string[]): readonly string[] {
  const kept: string[] = [];
  let left = TEXT_MAX;
  for (const text of texts) {
    if (left <= 0) break;
    kept.push(text.slice(0, left));
    left -= text.length;
  }
  return kept;
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&amp;": "&",
  "&lt;": "<",
  "&gt;": ">",
  "&quot;": '"',
  "&#39;": "'",
  "&apos;": "'",
  "&nbsp;": " ",
};

function withoutMarkup(text: string): string {
  const stripped = text.replace(TAG, " ");
  if (stripped.length === text.length) return text;
  return stripped.replace(/&(?:amp|lt|gt|quot|#39|apos|nbsp);/g, (entity) => ENTITIES[entity] ?? entity);
}

/** A file name without folders and without up to two short extensions. */
function stemOf(name: string): string {
  const base = name.slice(-300).split(/[/\\]/).at(-1) ?? "";
  return base.replace(/(?:\.[A-Za-z0-9]{1,5}){1,2}$/, "");
}

function* afterMentions(texts: readonly string[]): Generator<string> {
  let left = MENTIONS_MAX;
  for (const text of texts) {
    for (const mention of text.matchAll(MENTION)) {
      if (left-- <= 0) return;
      const start = mention.index + mention[0].length;
      yield* fromWindow(text.slice(start, start + WINDOW));
    }
  }
}

/** Candidates in what follows a word for "password". */
function* fromWindow(window: string): Generator<string> {
  const [, marked = ""] = /[:=：]\s{0,20}(\S{1,64})/u.exec(window) ?? [];
  yield* formsOf(marked.split(BREAKS, 1)[0] ?? "");
  for (const [, inside = ""] of window.matchAll(QUOTED)) yield inside.trim();
  const words = window
    .split(BREAKS)
    .filter((word) => word !== "")
    .slice(0, WINDOW_WORDS);
  for (const word of words) {
    const bare = trimEdges(word);
    if (bare === "" || FILLERS.has(bare.toLowerCase())) continue;
    yield* formsOf(word);
  }
  for (const [run] of window.matchAll(VISIBLE_RUN)) yield* formsOf(run);
  // A phrase of several words, to the end of its line.
  const [line = ""] = window.replace(/^[\s:=\-–—>：]+/u, "").split(/[\r\n]/, 1);
  yield* formsOf(line.trim());
}

/** A word as it may be meant: without what stands around it, without the mark behind it, as it is. */
function* formsOf(word: string): Generator<string> {
  yield trimEdges(word);
  yield word.replace(/^[:=\-–—>(["'“„«]{1,8}/u, "");
  yield word.replace(/[.,;:!?)\]"'”“»]{1,8}$/u, "");
  yield word;
}

function trimEdges(word: string): string {
  let start = 0;
  let end = word.length;
  while (start < end && EDGES.includes(word.charAt(start))) start++;
  while (end > start && EDGES.includes(word.charAt(end - 1))) end--;
  return word.slice(start, end);
}

function* matches(texts: readonly string[], pattern: RegExp): Generator<string> {
  for (const text of texts) {
    for (const match of text.matchAll(pattern)) yield (match[1] ?? match[0]).trim();
  }
}

/** Words that stand alone in their line. */
function* loneWords(texts: readonly string[]): Generator<string> {
  for (const text of texts) {
    for (const [, word = ""] of text.matchAll(/^[ \t\u00a0]{0,40}(\S{3,64})[ \t\u00a0]{0,40}$/gm)) {
      yield* formsOf(word);
    }
  }
}

/** Words with a digit, or with capitals inside, as passwords have them and speech has not. */
function* mixedWords(texts: readonly string[]): Generator<string> {
  for (const word of words(texts)) {
    if (/\d/.test(word) || /\p{Ll}\p{Lu}/u.test(word) || /\p{L}[@$!#%&*+]\p{L}?/u.test(word))
      yield* formsOf(word);
  }
}

function* allWords(texts: readonly string[]): Generator<string> {
  for (const word of words(texts)) {
    if (word.length >= 3) yield* formsOf(word);
  }
}

function* words(texts: readonly string[]): Generator<string> {
  for (const text of texts) {
    for (const [word] of text.matchAll(
      /[^\s\u00a0\u3000，。；：、！？（）【】「」『』《》\u200b-\u200f\u2060\ufeff]+/gu,
    )) {
      if (word.length <= PASSWORD_MAX) yield word;
    }
  }
}
