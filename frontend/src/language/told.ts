/**
 * The server's sentences in the reader's language. The server speaks English alone; a catalogue has a template for each
 * sentence it can say: `{"waits for {0}": "wartet auf {0}"}`. What is in the holes is told by the same rules again.
 */
import { split, type Between } from "./split";
import { firstWord, hasHoles, put, template, type Template } from "./template";

export type Catalogue = Readonly<Record<string, string>>;

const LONGEST = 4000;
const DEEPEST = 16;
const KEPT = 4000;
/** A template with less literal text than this tells a sentence only where all that it holds is known too. */
const TELLING = 12;
/** With less than this, as "{0} to {1}", not even a word that could be a name may be in its holes. */
const FITTING = 7;

const upper = (text: string) => text.slice(0, 1).toUpperCase() + text.slice(1);
const lower = (text: string) => text.slice(0, 1).toLowerCase() + text.slice(1);
/** Without what ties it to its neighbours: "; it waits" and " (its own)" are "it waits" and "its own". */
const bare = (text: string) =>
  text
    .replace(/^[\s;,:(]+/, "")
    .replace(/^([^(]*)\)$/, "$1")
    .replace(/[\s;,:]+$/, "");

const NAME = /^(?:`[^`]*`|'[^']*'|\S*[^\s.]|\.+)$/;
const FIGURE = /^[-+~\d.,:%/ ]+(?: ?[A-Za-z]{1,6}(?:\/s)?)?(?: UTC)?$/;
/** "something (a remark)." */
const REMARK = /^([\s\S]*?) \(([^()]*(?:\([^()]*\)[^()]*)*)\)(\.?)$/;
const ARTICLE = /^(?:the|a|an|it|its|this|that|no|there)$/i;

/** A sentence keeps its full stop where it falls apart. */
const joint = (between: Between, and: string) => (between === ". " ? " " : between === " and " ? ` ${and} ` : between);

export class Teller {
  private readonly exact = new Map<string, string>();
  private readonly byWord = new Map<string, Template[]>();
  private readonly cache = new Map<string, string>();
  /** What became of each piece of the sentence that is being told: many ways lead to the same piece. */
  private readonly tried = new Map<string, string | undefined>();

  /** `and` joins the last two of a list. */
  constructor(
    catalogue: Catalogue,
    private readonly and: string,
  ) {
    for (const [english, translation] of Object.entries(catalogue)) {
      const [from, to] = [bare(english), bare(translation)];
      if (!hasHoles(from)) this.exact.set(from, to);
      else this.byWord.set(firstWord(from), [...(this.byWord.get(firstWord(from)) ?? []), template(from, to)]);
    }
  }

  /** What is not in the catalogue stays as it is. */
  tell(sentence: string): string {
    const known = this.cache.get(sentence);
    if (known !== undefined) return known;
    if (this.cache.size >= KEPT) this.cache.clear();
    this.tried.clear();
    const found = sentence.length > LONGEST ? sentence : this.said(sentence, 0);
    this.cache.set(sentence, found);
    return found;
  }

  /** As well as it can be told. */
  private said(text: string, depth: number): string {
    return this.known(text, depth) ?? this.matched(text, depth, true) ?? this.loose(text, depth) ?? text;
  }

  /** Told with nothing left over; undefined where any of it is unknown. */
  private known(text: string, depth: number): string | undefined {
    if (depth > DEEPEST) return undefined;
    if (!this.tried.has(text)) this.tried.set(text, this.knownAnew(text, depth));
    return this.tried.get(text);
  }

  private knownAnew(text: string, depth: number): string | undefined {
    const [, before = "", core = "", after = ""] = /^([\s;,:(]*)([\s\S]*?)(\s*)$/.exec(text) ?? [];
    if (before.endsWith("(") && core.endsWith(")") && !core.slice(0, -1).includes(")")) {
      const within = this.known(core.slice(0, -1), depth + 1);
      return within && `${before}${within})${after}`;
    }
    const found = this.whole(core, depth) ?? (NAME.test(core) || FIGURE.test(core) ? figure(core) : undefined);
    if (found !== undefined) return before + found + after;
    const parts = this.inParts(core, depth, (part) => this.known(part, depth + 1), before, after);
    if (parts !== undefined || !/[^.]\.$/.test(core)) return parts;
    const unstopped = this.known(core.slice(0, -1), depth + 1);
    return unstopped && `${before}${unstopped}.${after}`;
  }

  /** A sentence of the catalogue, as it stands or with another first letter. */
  private whole(text: string, depth: number): string | undefined {
    if (text === "") return "";
    const found = this.exactly(text) ?? this.matched(text, depth, false);
    if (found !== undefined || lower(text) === text) return found;
    const small = this.matched(lower(text), depth, false);
    return small && upper(small);
  }

  /** One without holes; its full stop may be new. */
  private exactly(text: string): string | undefined {
    const small = this.exact.get(lower(text));
    const found = this.exact.get(text) ?? (small && upper(small));
    if (found !== undefined || !text.endsWith(".") || text.endsWith("..")) return found;
    const unstopped = this.exactly(text.slice(0, -1));
    return unstopped && `${unstopped}.`;
  }

  /** By the template with the most literal text; `loosely`: although something in its holes is unknown. */
  private matched(text: string, depth: number, loosely: boolean): string | undefined {
    if (depth > DEEPEST) return undefined;
    const near = [...(this.byWord.get(/^\S+/.exec(text)?.[0] ?? "") ?? []), ...(this.byWord.get("") ?? [])]
      .filter((each) => text.includes(each.piece) && (!loosely || each.weight >= TELLING))
      .sort((one, other) => other.weight - one.weight);
    for (const each of near) {
      const groups = each.pattern.exec(text);
      if (groups === null) continue;
      const values = this.values(each, groups, depth, loosely);
      if (values !== undefined) return put(each.translation, values);
    }
    if (!loosely) return undefined;
    const small = lower(text);
    const found = small === text ? undefined : this.matched(small, depth, true);
    return found && upper(found);
  }

  private values(
    { holes, names, figures, weight }: Template,
    groups: RegExpExecArray,
    depth: number,
    loosely: boolean,
  ) {
    const values = new Map<string, string>();
    for (const [index, name] of holes.entries()) {
      const value = groups[index + 1];
      if (value === undefined) continue;
      const known = names.has(name) ? value : loosely ? this.said(value, depth + 1) : this.known(value, depth + 1);
      if (
        known === undefined ||
        (weight < FITTING && holes.length > 1 && known === value && /^[A-Za-z-]+$/.test(value))
      )
        return undefined;
      values.set(name, figures.has(name) ? comma(known) : known);
    }
    return values;
  }

  /** Several sentences or clauses, a list, a remark in brackets, or a name and what it does: each by itself. */
  private inParts(
    text: string,
    depth: number,
    tell: (part: string) => string | undefined,
    before = "",
    after = "",
  ): string | undefined {
    if (depth > DEEPEST) return undefined;
    for (const between of [". ", "; ", ": ", ", ", " and "] as const) {
      const parts = split(text, between);
      if (parts.length < 2) continue;
      const told = parts.map(tell);
      if (told.every((part) => part !== undefined)) return before + told.join(joint(between, this.and)) + after;
    }
    const [, head, remark, stop = ""] = REMARK.exec(text) ?? [];
    if (head !== undefined && remark !== undefined) {
      const [first, second] = [tell(head), tell(remark)];
      if (first !== undefined && second !== undefined) return `${before}${first} (${second})${stop}${after}`;
    }
    const counted = this.counted(text);
    if (counted !== undefined) return before + counted + after;
    const [, name, does] = /^(`[^`]*`|\S+) ([\s\S]+)$/.exec(text) ?? [];
    if (name === undefined || does === undefined || ARTICLE.test(name)) return undefined;
    const rest = this.counted(does) ?? this.whole(does, depth + 1);
    return rest && `${before}${this.exact.get(name) ?? name} ${rest}${after}`;
  }

  /** Words and a figure: "was asleep since 12:00:00 UTC", "KV cap 4 GiB". */
  private counted(text: string): string | undefined {
    const [, words = "", count = ""] = /^(\D*?) ([-+~]?\d.*)$/.exec(text) ?? [];
    const told = FIGURE.test(count) ? this.exact.get(words) : undefined;
    return told && `${told} ${figure(count)}`;
  }

  /** Some of it is unknown: what is known is told, sentence by sentence, clause by clause. */
  private loose(text: string, depth: number): string | undefined {
    if (depth > DEEPEST) return undefined;
    for (const between of [". ", "; ", ": "] as const) {
      const parts = split(text, between);
      if (parts.length > 1) return parts.map((part) => this.said(part, depth + 1)).join(joint(between, this.and));
    }
    const [, head, remark, stop = ""] = REMARK.exec(text) ?? [];
    return head && remark && `${this.said(head, depth + 1)} (${this.said(remark, depth + 1)})${stop}`;
  }
}

const comma = (text: string) => text.replace(/^(\d+)\.(\d+)$/, "$1,$2");

/** 12.5 GiB as it is written where a comma parts the fraction; a version's number has no unit and stays. */
function figure(text: string): string {
  return text.replace(/^(-?\+?\d+)\.(\d+)(?= ?(?:[KMGT]iB|ms|s|min|h|d|%|W)$)/, "$1,$2");
}

let teller: Teller | undefined;

/** From now on sentences are told by this catalogue; before, and without one, they stay in English. */
export function learn(catalogue: Catalogue, and: string): void {
  teller = new Teller(catalogue, and);
}

/** Whether there is a catalogue at all: else nothing has to be looked through. */
export const learned = (): boolean => teller !== undefined;

export const told = (sentence: string): string => teller?.tell(sentence) ?? sentence;
