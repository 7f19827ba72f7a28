/** What the form of a benchmark holds, as text, and the request it becomes. Pure. */
import type { BenchmarkRequest, DrillKind, LengthsRequest, StreamRequest } from "../../../api/types";
import { parseBytes, parseDuration, parseSeconds, pointed } from "../../../lib/format";

export const SORTS = { load: "A load", trace: "A trace", search: "Highest load", drill: "A drill" } as const;
export type Sort = keyof typeof SORTS;

export const PATTERNS = {
  closed: "by callers, in turn",
  constant: "evenly",
  poisson: "at random (Poisson)",
  gamma: "in bursts (gamma)",
  ramp: "faster and faster (ramp)",
} as const;
export type Pattern = keyof typeof PATTERNS;

export const KINDS = { chat: "Chat", completions: "Completions", embeddings: "Embeddings" } as const;
export const WAYS = { gateway: "through the gateway", engine: "straight to the engine" } as const;
export const SLOS = {
  ttft: "First token",
  itl: "Between tokens",
  tpot: "Time per token",
  e2e: "Whole answer",
} as const;
export type Slo = keyof typeof SLOS;

export interface StreamDraft extends Record<Slo, string> {
  /** Tells rows of the form apart. */
  readonly row: number;
  deployment: string;
  pattern: Pattern;
  concurrency: string;
  rate: string;
  rate_end: string;
  burstiness: string;
  prompt: string;
  output: string;
  shared_prefix: string;
  prompts: string;
  free_output: boolean;
  kind: keyof typeof KINDS;
  way: keyof typeof WAYS;
}

export interface ProbeDraft {
  readonly row: number;
  deployment: string;
  every: string;
}

export interface RunDraft {
  sort: Sort;
  name: string;
  streams: StreamDraft[];
  probes: ProbeDraft[];
  trace: string;
  speed: string;
  length: string;
  calls: string;
  warmup: string;
  seed: string;
  isolated: boolean;
  beside: boolean;
  metered: boolean;
  keeps_awake: boolean;
  over: "rate" | "concurrency";
  low: string;
  high: string;
  ratio: string;
  trial: string;
  most: string;
  drill: DrillKind;
  level: "1" | "2";
  cycles: string;
  turn: string;
  kv: string;
}

/** Each drill: its name, what it does, how often unless told, and whether several deployments take turns in it. */
export const DRILLS = {
  wakes: [
    "Sleep and wake",
    "Every replica sleeps, and one call through the gateway wakes it; then again.",
    "10",
    false,
  ],
  cold_starts: ["Cold start", "Every replica stops, starts, and one call waits for it; then again.", "3", false],
  move: [
    "Move under load",
    "A replica moves to another GPU while calls come; the next cycle moves it back.",
    "2",
    false,
  ],
  storm: [
    "Eviction storm",
    "Models that do not all fit are asked in turn, in bursts: each has to make way.",
    "3",
    true,
  ],
  elastic: [
    "Elastic or fixed KV memory",
    "The same bursts twice: with KV limits that follow demand, and with a fixed part for each. KV caps are as before afterwards.",
    "1",
    true,
  ],
  cost: [
    "What the gateway costs",
    "The same load through the gateway and straight to the engine, by turns.",
    "4",
    false,
  ],
} as const satisfies Record<DrillKind, readonly [string, string, string, boolean]>;

/** A form for this drill, with those of `names` who may take part. */
export function drillDraft(kind: DrillKind, names: readonly string[]): RunDraft {
  const [, , cycles, several] = DRILLS[kind];
  const asked = several ? names.slice(0, 2) : names.slice(0, 1);
  const pattern = several ? "poisson" : "closed";
  return {
    ...runDraft(),
    sort: "drill",
    drill: kind,
    cycles,
    streams: asked.map((deployment, row) => streamDraft(row, { deployment, pattern, output: several ? "128" : "32" })),
  };
}

type Wrong = Record<string, string>;

/** A stream with what most people mean; `of` says what is known of it. */
export function streamDraft(row: number, of: Partial<StreamDraft> = {}): StreamDraft {
  return {
    deployment: "",
    pattern: "closed",
    concurrency: "4",
    rate: "2",
    rate_end: "10",
    burstiness: "0.3",
    prompt: "128",
    output: "64",
    shared_prefix: "",
    prompts: "",
    free_output: false,
    kind: "chat",
    way: "gateway",
    ttft: "",
    itl: "",
    tpot: "",
    e2e: "",
    ...of,
    row,
  };
}

/** A form that asks one deployment. */
export function runDraft(deployment = ""): RunDraft {
  return {
    sort: "load",
    name: "",
    streams: [streamDraft(0, { deployment })],
    probes: [],
    trace: "",
    speed: "1",
    length: "30 s",
    calls: "",
    warmup: "",
    seed: "",
    isolated: false,
    beside: false,
    metered: false,
    keeps_awake: false,
    over: "rate",
    low: "1",
    high: "1000",
    ratio: "95",
    trial: "15 s",
    most: "5 min",
    drill: "wakes",
    level: "1",
    cycles: "10",
    turn: "10 s",
    kv: "",
  };
}

/** The rows with one more, which nobody was named for yet. */
export function withRow<T extends { readonly row: number }>(rows: readonly T[], make: (row: number) => T): T[] {
  return [...rows, make(1 + Math.max(-1, ...rows.map((one) => one.row)))];
}

/** Every field at which something may be wrong. */
export function fieldsOf(draft: RunDraft): string[] {
  const stream = ["deployment", "arrival.concurrency", "arrival.rate", "arrival.rate_end", "arrival.burstiness"];
  stream.push("prompt", "output", "shared_prefix_ratio", "prompts", "slo.ttft_seconds", "slo.itl_seconds");
  stream.push("slo.tpot_seconds", "slo.e2e_seconds", "slo", "way", "kind");
  const search = ["low", "high", "ratio", "trial_seconds", "most_seconds"];
  return [
    ...["name", "seconds", "calls", "warmup_seconds", "seed", "trace", "speed", "streams", "probes", "search", "drill"],
    ...search.map((field) => `search.${field}`),
    ...["kind", "cycles", "level", "turn_seconds", "kv_bytes"].map((field) => `drill.${field}`),
    ...draft.streams.flatMap((_, index) => stream.map((field) => `streams.${index}.${field}`)),
    ...draft.probes.flatMap((_, index) => ["deployment", "every_seconds"].map((field) => `probes.${index}.${field}`)),
  ];
}

/** The request, or what is wrong by field; that of the second stream's rate is "streams.1.arrival.rate". */
export function runRequest(draft: RunDraft): { request: BenchmarkRequest; wrong: Wrong } {
  const wrong: Wrong = {};
  const request: BenchmarkRequest = {
    ...(draft.name.trim() && { name: draft.name.trim() }),
    probes: draft.probes.map((probe, index) => probeRequest(probe, index, wrong)),
    ...(draft.beside && { beside: true }),
    ...(draft.metered && { metered: true }),
    ...(draft.keeps_awake && { keeps_awake: true }),
    ...optional("warmup_seconds", seconds(draft.warmup, "warmup_seconds", wrong)),
    ...optional("seed", number(draft.seed, "seed", wrong, true)),
    ...SORT_REQUESTS[draft.sort](draft, wrong),
  };
  return { request, wrong };
}

const SORT_REQUESTS: Record<Sort, (draft: RunDraft, wrong: Wrong) => BenchmarkRequest> = {
  load: (draft, wrong) => ({ streams: streams(draft, wrong), ...ends(draft, wrong), together: !draft.isolated }),
  trace: traceRequest,
  search: searchRequest,
  drill: drillRequest,
};

function traceRequest(draft: RunDraft, wrong: Wrong): BenchmarkRequest {
  if (!draft.trace.trim()) wrong["trace"] = "choose a file, or paste its lines";
  return { trace: draft.trace, ...optional("speed", number(draft.speed, "speed", wrong)) };
}

function searchRequest(draft: RunDraft, wrong: Wrong): BenchmarkRequest {
  const ratio = number(draft.ratio, "search.ratio", wrong);
  const asked = streams(draft, wrong);
  if (!asked[0]?.slo) wrong["streams.0.slo"] = "say what calls have to keep: at least one of these four";
  return {
    streams: asked,
    search: {
      over: draft.over,
      ...optional("low", number(draft.low, "search.low", wrong)),
      ...optional("high", number(draft.high, "search.high", wrong)),
      ...optional("ratio", ratio === undefined ? undefined : ratio / 100),
      ...optional("trial_seconds", seconds(draft.trial, "search.trial_seconds", wrong)),
      ...optional("most_seconds", seconds(draft.most, "search.most_seconds", wrong)),
    },
  };
}

function drillRequest(draft: RunDraft, wrong: Wrong): BenchmarkRequest {
  const shared = draft.drill === "elastic" ? parseBytes(draft.kv) : undefined;
  if (draft.drill === "elastic" && draft.kv.trim() && shared === undefined)
    wrong["drill.kv_bytes"] = "write a size such as 8 GiB";
  return {
    streams: streams(draft, wrong),
    drill: {
      kind: draft.drill,
      level: Number(draft.level) as 1 | 2,
      ...optional("cycles", number(draft.cycles, "drill.cycles", wrong, true)),
      ...optional("turn_seconds", seconds(draft.turn, "drill.turn_seconds", wrong)),
      ...optional("kv_bytes", shared),
    },
  };
}

function ends(draft: RunDraft, wrong: Wrong): BenchmarkRequest {
  const length = seconds(draft.length, "seconds", wrong);
  const calls = number(draft.calls, "calls", wrong, true);
  if (!draft.length.trim() && !draft.calls.trim()) wrong["seconds"] = "say when it ends: after a time, or after calls";
  return { ...optional("seconds", length), ...optional("calls", calls) };
}

function streams(draft: RunDraft, wrong: Wrong): StreamRequest[] {
  return draft.streams.map((given, index) => {
    const at = (field: string) => `streams.${index}.${field}`;
    if (!given.deployment) wrong[at("deployment")] = "choose a deployment";
    const shared = number(given.shared_prefix, at("shared_prefix_ratio"), wrong);
    const slo = sloRequest(given, at, wrong);
    return {
      deployment: given.deployment,
      arrival: arrival(given, draft, at, wrong),
      prompt: lengths(given.prompt, at("prompt"), wrong),
      output: lengths(given.output, at("output"), wrong),
      kind: given.kind,
      way: given.way,
      exact_output: !given.free_output,
      ...optional("shared_prefix_ratio", shared === undefined ? undefined : shared / 100),
      ...(given.prompts.trim() && { prompts: given.prompts }),
      ...(Object.keys(slo).length > 0 && { slo }),
    };
  });
}

type At = (field: string) => string;

function arrival(given: StreamDraft, draft: RunDraft, at: At, wrong: Wrong): NonNullable<StreamRequest["arrival"]> {
  const { pattern } = given;
  const rate = (field: "rate" | "rate_end" | "burstiness") =>
    optional(field, needed(given[field], at(`arrival.${field}`), wrong));
  if (pattern === "closed")
    return { pattern, ...optional("concurrency", needed(given.concurrency, at("arrival.concurrency"), wrong, true)) };
  if (pattern === "gamma") return { pattern, ...rate("rate"), ...rate("burstiness") };
  if (pattern !== "ramp") return { pattern, ...rate("rate") };
  const over = parse(draft.length);
  return { pattern, ...rate("rate"), ...rate("rate_end"), ...optional("ramp_seconds", over) };
}

function sloRequest(given: StreamDraft, at: At, wrong: Wrong): NonNullable<StreamRequest["slo"]> {
  const slo: NonNullable<StreamRequest["slo"]> = {};
  for (const name of Object.keys(SLOS) as Slo[]) {
    const limit = milliseconds(given[name], at(`slo.${name}_seconds`), wrong);
    if (limit !== undefined) slo[`${name}_seconds`] = limit;
  }
  return slo;
}

function probeRequest(given: ProbeDraft, index: number, wrong: Wrong): { deployment: string; every_seconds?: number } {
  if (!given.deployment) wrong[`probes.${index}.deployment`] = "choose a deployment";
  const every = milliseconds(given.every, `probes.${index}.every_seconds`, wrong);
  return { deployment: given.deployment, ...optional("every_seconds", every) };
}

/** "128" is always so many, "50-200" from to, "~200" about so many with a long tail, "~200:0.8" with its spread. */
export function lengths(text: string, field: string, wrong: Wrong): LengthsRequest {
  const form = /^\s*(?:(\d+)|(\d+)\s*[-–]\s*(\d+)|~\s*(\d+)(?::(\d*\.?\d+))?)\s*$/.exec(text);
  if (form === null) {
    wrong[field] = "write tokens: 128, 50-200, or ~200 for about so many";
    return {};
  }
  const [, fixed, low, high, median, sigma] = form;
  if (fixed !== undefined) return { shape: "fixed", tokens: Number(fixed) };
  if (low !== undefined) return { shape: "uniform", low: Number(low), high: Number(high) };
  return { shape: "lognormal", tokens: Number(median), ...(sigma && { sigma: Number(sigma) }) };
}

function number(text: string, field: string, wrong: Wrong, whole = false): number | undefined {
  const form = whole ? /^\d+$/ : /^\d*\.?\d+$/;
  if (!text.trim()) return undefined;
  if (form.test(pointed(text.trim()))) return Number(pointed(text));
  wrong[field] = whole ? "write a whole number" : "write a number";
  return undefined;
}

function needed(text: string, field: string, wrong: Wrong, whole = false): number | undefined {
  if (!text.trim()) wrong[field] = "write a number";
  return number(text, field, wrong, whole);
}

const parse = (text: string) => parseSeconds(text) ?? parseDuration(text);

function seconds(text: string, field: string, wrong: Wrong): number | undefined {
  if (!text.trim()) return undefined;
  const found = parse(text);
  if (found === undefined) wrong[field] = "write a time such as 30 s or 5 min";
  return found;
}

/** Seconds of "200 ms" or "1.5 s". */
function milliseconds(text: string, field: string, wrong: Wrong): number | undefined {
  const form = /^\s*(\d*\.?\d+)\s*ms\s*$/.exec(pointed(text));
  return form ? Number(form[1]) / 1000 : seconds(text, field, wrong);
}

function optional<K extends string, V>(name: K, value: V | undefined): { [key in K]?: V } {
  return value === undefined ? {} : ({ [name]: value } as { [key in K]?: V });
}
