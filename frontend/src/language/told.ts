/**
 * The server's sentences in the reader's language. The server speaks English alone; a catalogue has a template for each
 * sentence it can say: `{"waits for {0}": "wartet auf {0}"}`. What is in the holes is told by the same rules again.
 */
import { split, type Between } from "./split";
import { hasHoles, keysOf, put, template, type Template } from "./template";

export type Catalogue = Readonly<Record<string, string>>;

const LONGEST = 2000;
const DEEPEST = 60;
const KEPT = 4000;
const LONGEST_RUN = 12;
/** A template with less literal text than this tells a sentence only where all that it holds is known too. */
const TELLING = 12;
/** With less than this, as "{0} to {1}", it is tried last, and not even a word that could be a name may be in it. */
const FITTING = 7;

const upper = <T extends string | undefined>(text: T) => (text && text.slice(0, 1).toUpperCase() + text.slice(1)) as T;
const lower = (text: string) => text.slice(0, 1).toLowerCase() + text.slice(1);
/** Without what ties it to its neighbours, or ends it: "; it waits." and " (its own)" are "it waits" and "its own". */
const bare = (text: string) =>
  text
    .replace(/^[\s;,:(]+/, "")
    .replace(/^([^(]*)\)$/, "$1")
    .replace(/[\s;,:.]+$/, "");

const NAME = /^(?:`[^`]*`|'[^']*'|\S*[^\s.]|\.+)$/;
const FIGURE = /^[-+~\d.,:%/ ]+(?: ?[A-Za-z]{1,6}(?:\/s)?)?(?: [A-Z]{3,5})?$/;
/** "something (a remark)." */
const REMARK = /^([\s\S]*?) \(([^()]*(?:\([^()]*\)[^()]*)*)\)(\.?)$/;
const NO_NAME = /^(?:the|a|an|it|its|this|that|no|there|for|after|at|by|in|on|of|to|from|with|and|or|is|are|was|not)$/i;
const NO_DEED = /^(?:\d|`|(?:the|a|an|it|its|no|about|of|to|in) )/;

/** A sentence keeps its full stop where it falls apart. */
const joint = (between: Between, and: string) => (between === ". " ? " " : between === " and " ? ` ${and} ` : between);

/**
 * How a template may fit: tightly, where no hole swallows a clause or a sentence; well, where all that is in its holes is
 * known; loosely.
 */
type Fit = "tight" | "well" | "loose";

export class Teller {
  private readonly exact = new Map<string, string>();
  private readonly byKey = new Map<string, Template[]>();
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
      if (!hasHoles(from)) {
        this.exact.set(from, to);
        continue;
      }
      const made = template(from, to);
      this.byKey.set(made.key, [...(this.byKey.get(made.key) ?? []), made]);
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
    const found = this.known(text, depth) ?? this.matched(text, depth, "loose");
    if (found !== undefined) return found;
    if (/[^.]\.$/.test(text) && split(text, ". ").length === 1) return `${this.said(text.slice(0, -1), depth + 1)}.`;
    return this.loose(text, depth) ?? text;
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
    const found =
      this.whole(core, depth) ??
      (NAME.test(core) || FIGURE.test(core) ? figure(core) : undefined) ??
      this.inParts(core, depth) ??
      this.matched(core, depth, "well") ??
      this.unstopped(core, depth);
    return found === undefined ? undefined : before + found + after;
  }

  private unstopped(text: string, depth: number): string | undefined {
    const found = /[^.]\.$/.test(text) ? this.known(text.slice(0, -1), depth + 1) : undefined;
    return found && `${found}.`;
  }

  /** A sentence of the catalogue, as it stands or with another first letter. */
  private whole(text: string, depth: number): string | undefined {
    return text === "" ? "" : (this.exactly(text) ?? this.matched(text, depth, "tight"));
  }

  /** One without holes; its full stop may be new. */
  private exactly(text: string): string | undefined {
    const small = this.exact.get(lower(text));
    const found = this.exact.get(text) ?? (small && upper(small));
    if (found !== undefined || !text.endsWith(".") || text.endsWith("..")) return found;
    const unstopped = this.exactly(text.slice(0, -1));
    return unstopped && `${unstopped}.`;
  }

  /** By the template that fits and is the first to be tried, also where the sentence begins with a capital. */
  private matched(text: string, depth: number, fit: Fit): string | undefined {
    if (depth > DEEPEST) return undefined;
    const small = lower(text);
    return this.fitted(text, depth, fit) ?? (small === text ? undefined : upper(this.fitted(small, depth, fit)));
  }

  private fitted(text: string, depth: number, fit: Fit): string | undefined {
    const least = { tight: FITTING, well: 0, loose: TELLING }[fit];
    const near = ["", ...keysOf(text)]
      .flatMap((key) => this.byKey.get(key) ?? [])
      .filter((each) => each.literal >= least || (fit === "tight" && each.holes.length === 1))
      .sort((one, other) => (fit === "loose" ? other.literal - one.literal : other.weight - one.weight));
    for (const each of near) {
      for (const pattern of [each.pattern, each.greedy]) {
        const groups = pattern.exec(text);
        const values = groups && this.values(each, groups, depth, fit);
        if (values) return put(each.translation, values) + (groups.at(-1) ?? "");
        if (!groups) break;
      }
    }
    return undefined;
  }

  private values({ holes, names, figures, literal }: Template, groups: RegExpExecArray, depth: number, fit: Fit) {
    const values = new Map<string, string>();
    for (const [index, name] of holes.entries()) {
      const value = groups[index + 1];
      if (value === undefined) continue;
      if (fit === "tight" && /(?:;|[a-z)`]\.) /.test(value)) return undefined;
      const known = names.has(name)
        ? value
        : fit === "loose"
          ? this.said(value, depth + 1)
          : this.known(value, depth + 1);
      const isGuess = literal < FITTING && holes.length > 1 && known === value && /^[A-Za-z-]*$/.test(value);
      if (known === undefined || isGuess) return undefined;
      values.set(name, figures.has(name) ? comma(known) : known);
    }
    return values;
  }

  /** Several sentences or clauses, a name and what it does, a list, or a remark in brackets: each by itself. */
  private inParts(text: string, depth: number): string | undefined {
    if (depth > DEEPEST) return undefined;
    return (
      this.divided(text, depth, [". ", "; ", ": ", " -> "]) ??
      this.counted(text) ??
      this.does(text, depth) ??
      this.led(text, depth) ??
      this.divided(text, depth, [", ", " and "]) ??
      this.remarked(text, (part) => this.known(part, depth + 1))
    );
  }

  private divided(text: string, depth: number, at: readonly Between[]): string | undefined {
    for (const between of at) {
      const parts = split(text, between);
      const told = parts.length < 2 ? [undefined] : parts.map((part) => this.known(part, depth + 1));
      const joined = told.every((part) => part !== undefined)
        ? told.join(joint(between, this.and))
        : between === "; " && this.runs(parts, depth);
      if (joined) return joined;
    }
    return undefined;
  }

  /** Clauses of which some belong together: the longest run that is known, and what comes after it. */
  private runs(parts: readonly string[], depth: number): string | undefined {
    if (parts.length > LONGEST_RUN) return undefined;
    for (let size = parts.length - 1; size > 0; size -= 1) {
      const first = this.known(parts.slice(0, size).join("; "), depth + 1);
      const rest = first && this.known(parts.slice(size).join("; "), depth + 1);
      if (rest) return `${first}; ${rest}`;
    }
    return undefined;
  }

  private does(text: string, depth: number): string | undefined {
    const [, name, does] = /^(`[^`]*`|\S*[^\s,;:.]) ([\s\S]+)$/.exec(text) ?? [];
    if (name === undefined || does === undefined || NO_NAME.test(name) || NO_DEED.test(does)) return undefined;
    const told = this.counted(does) ?? this.whole(does, depth + 1);
    return told && `${this.exact.get(name) ?? name} ${told}`;
  }

  /** Words that are known, and where or when: "adapters (--enable-lora) at its start". */
  private led(text: string, depth: number): string | undefined {
    for (let at = text.indexOf(" "); at !== -1; at = text.indexOf(" ", at + 1)) {
      const head = this.exact.get(text.slice(0, at));
      const rest = head && this.whole(text.slice(at + 1), depth + 1);
      if (rest) return `${head} ${rest}`;
    }
    return undefined;
  }

  private remarked(text: string, tell: (part: string) => string | undefined): string | undefined {
    const [, head, remark, stop = ""] = REMARK.exec(text) ?? [];
    if (head === undefined || remark === undefined) return undefined;
    const [first, second] = [tell(head), tell(remark)];
    return first === undefined || second === undefined ? undefined : `${first} (${second})${stop}`;
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
    return this.remarked(text, (part) => this.said(part, depth + 1));
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
