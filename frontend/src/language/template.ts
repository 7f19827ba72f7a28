/** One sentence that the server can say, with holes, as a pattern. */
export interface Template {
  readonly pattern: RegExp;
  /** The same with its first hole as long as can be: where literal text comes twice, either may be meant. */
  readonly greedy: RegExp;
  /** The names of the pattern's groups, in their order; the last group has no name: it is the full stop, or nothing. */
  readonly holes: readonly string[];
  /** Of these the ones after a backtick or a quote: names, never sentences. */
  readonly names: ReadonlySet<string>;
  /** Those with a unit behind them: figures. */
  readonly figures: ReadonlySet<string>;
  /** Its longest literal word, by which it is found; "" where it has none. */
  readonly key: string;
  /** How much of it is literal. */
  readonly literal: number;
  /** What is tried first: its first word says best which sentence it is, then all that is literal. */
  readonly weight: number;
  readonly translation: string;
}

/** What the code puts in; holes that touch are one, for nothing says where the first ends. */
const HOLE = /\{([\w!:.]*(?:\}\{[\w!:.]*)*)\}/g;
/** A part that may be absent, `[: {size} more]`. */
const PART = /\[([^[\]]*\{[^[\]]*)\]/g;

const BEGINNING = 1000;

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
/** `{given!r}` and `{span:.1f}` are put in as `{given}` and `{span}`. */
const named = (hole: string) => hole.replace(/[!:][^{}]*/g, "");
const pieces = (text: string) => text.split(HOLE).filter((_, index) => index % 2 === 0);

export const hasHoles = (text: string): boolean => text.search(HOLE) !== -1;

/** The first word; none where it begins with something put in, or with a part that may be absent. */
export const firstWord = (text: string): string => /^[^\s{[]+(?=\s|$)/.exec(text)?.[0] ?? "";

/** The words of a text, as keys. */
export const keysOf = (text: string): ReadonlySet<string> => new Set(text.toLowerCase().match(/[a-z]+/g));

function keyOf(english: string): string {
  const literal = english.replace(PART, " ").replace(HOLE, "0");
  return [...keysOf(literal.replace(/[a-z]*0[a-z]*/gi, " "))].reduce(
    (most, word) => (word.length > most.length ? word : most),
    "",
  );
}

export function template(english: string, translation: string): Template {
  const holes: string[] = [];
  const names = new Set<string>();
  const figures = new Set<string>();
  const filled = (text: string): string =>
    pieces(text)
      .map(escaped)
      .reduce((pattern, next, index) => {
        const name = named([...text.matchAll(HOLE)][index - 1]?.[1] ?? "");
        if (/^ (?:s|ms|min|h|[KMGT]iB)\b/.test(next)) figures.add(name);
        if (/[`'"“„]$/.test(pattern)) names.add(name);
        holes.push(name);
        return `${pattern}([\\s\\S]*?)${next}`;
      });
  let pattern = "";
  let end = 0;
  for (const part of english.matchAll(PART)) {
    pattern += `${filled(english.slice(end, part.index))}(?:${filled(part[1] ?? "")})?`;
    end = part.index + part[0].length;
  }
  pattern += filled(english.slice(end));
  const literals = pieces(english.replace(PART, "{}"));
  return {
    pattern: new RegExp(`^${pattern}(\\.?)$`),
    greedy: new RegExp(`^${pattern.replace("*?", "*")}(\\.?)$`),
    holes,
    names,
    figures,
    key: keyOf(english),
    literal: literals.join("").length,
    weight: literals.join("").length + (firstWord(english) ? BEGINNING : 0),
    translation,
  };
}

/** The translation with what was put in; a part whose holes are empty is left out. */
export function put(translation: string, values: ReadonlyMap<string, string>): string {
  const fill = (text: string) => text.replace(HOLE, (_, name: string) => values.get(named(name)) ?? "");
  const whole = (part: string) => [...part.matchAll(HOLE)].every(([, name = ""]) => values.has(named(name)));
  return fill(translation.replace(PART, (_, part: string) => (whole(part) ? part : "")));
}
