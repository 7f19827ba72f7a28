/** A benchmark's figures: what each means, how it is drawn, and how runs differ. Pure. */
import { word } from "../../../language/word";
import type { Benchmark, BenchmarkResult, Figures, StreamResult, Times } from "../../../api/types";
import type { Look } from "../../../live/benchmarks";
import type { Drawing, Layer, Values } from "../../../charts/drawing";
import { bytes, change, count, duration, finePercent, latency, rate, UNKNOWN } from "../../../lib/format";

export const STATISTICS = ["p50", "p90", "p95", "p99", "max", "mean"] as const;
export type Statistic = (typeof STATISTICS)[number];

/** Each time, and from when to when it is. */
export const TIMES = {
  ttft: ["First token", "From the planned time to the first piece with content, reasoning or a tool call."],
  ttft_service: ["First token, service", "From the moment of sending to the same piece."],
  answer: ["First answer token", "From the planned time to the first content or tool call: reasoning is none."],
  e2e: ["Whole answer", "From the planned time to the last byte of an answer that came whole."],
  e2e_service: ["Whole answer, service", "From the moment of sending to the last byte."],
  tpot: [
    "Time per token",
    "From the first piece to the last, by the tokens after the first piece. The first token's wait is no part.",
  ],
  itl: [
    "Between tokens",
    "The gap before a piece by the piece's tokens, once for each: only where the engine says its usage as it goes.",
  ],
  chunk_gap: ["Between pieces", "From a piece to the next, whatever number of tokens it holds."],
  send_lag: [
    "Runner's lag",
    "From the planned time until the runner sent it: large means that the runner was the limit.",
  ],
} as const;
export type TimeName = keyof typeof TIMES;
export const TIME_NAMES = Object.keys(TIMES) as TimeName[];

/** A time as it is written; "never" where it lies among calls that were not answered. */
export function timeText(times: Times | undefined, statistic: Statistic): string {
  const value = times?.[statistic];
  if (value === undefined || value === null) return times?.never ? word("never") : UNKNOWN;
  return latency(value);
}

/** The times of which something is known. */
export function knownTimes(figures: Figures): TimeName[] {
  return TIME_NAMES.filter((name) => {
    const times = figures.times[name];
    return times !== undefined && times.count + times.never > 0;
  });
}

/** "chat", "chat, probes", "chat, straight to the engine". */
export function streamName(stream: Pick<StreamResult, "deployment" | "role" | "way">): string {
  if (stream.role === "probe") return `${stream.deployment}, probes`;
  return stream.way === "engine" ? `${stream.deployment}, straight to the engine` : stream.deployment;
}

export function failedOf(figures: Figures): number {
  return Object.values(figures.failed).reduce((sum, one) => sum + one, 0);
}

export interface Line {
  readonly colour: string;
  readonly name: string;
  readonly dashed: boolean;
  readonly figures: Figures;
}

/** How large a part of the calls came within a time, of several streams or runs. */
export function distribution(name: TimeName, lines: readonly Line[]): Drawing | undefined {
  const known = lines.filter((line) => line.figures.times[name]?.curve.length);
  const most = Math.max(...known.flatMap((line) => curve(line, name).filter((value) => value !== null)));
  if (!known.length || !(most > 0)) return undefined;
  const at = Array.from({ length: 201 }, (_, step) => (step / 200) * most);
  return {
    title: TIMES[name][0],
    at,
    layers: known.map((line) => ({ ...line, values: at.map((time) => shareBy(time, curve(line, name))) })),
    stacked: false,
    tall: true,
    top: 1,
    show: (value) => `${Math.round(value * 100)} %`,
    showAt: latency,
    words: known
      .map((line) => {
        const times = line.figures.times[name];
        return `${line.name}: half within ${timeText(times, "p50")}, 99 of 100 within ${timeText(times, "p99")}`;
      })
      .join("; "),
  };
}

const curve = (line: Line, name: TimeName) => line.figures.times[name]?.curve ?? [];

/** The share of calls that came within a time, between the two nearest points of the curve. */
export function shareBy(time: number, points: readonly (number | null)[]): number {
  const last = points.length - 1;
  let index = -1;
  while (index < last) {
    const next = points[index + 1];
    if (next === null || next === undefined || next > time) break;
    index += 1;
  }
  if (index < 0) return 0;
  const [below, above] = [points[index] ?? 0, points[index + 1]];
  const part = above === null || above === undefined || above <= below ? 0 : (time - below) / (above - below);
  return Math.min((index + part) / last, 1);
}

const elapsed = (seconds: number) => duration(seconds);

function overTime(title: string, at: number[], layers: Layer[], show: (value: number) => string): Drawing {
  const greatest = (values: Values) => Math.max(...values.filter((value) => value !== null));
  const told = layers.filter((layer) => layer.values.some((value) => value !== null));
  return {
    title,
    at,
    layers: told,
    stacked: false,
    tall: true,
    top: show === bytes ? Math.max(...told.map((layer) => greatest(layer.values))) * 1.1 : undefined,
    show,
    showAt: elapsed,
    words: told.map((layer) => `${layer.name}: ${show(greatest(layer.values))} at most`).join("; ") || "nothing yet",
  };
}

export type ColourOf = (deployment: string) => string;

/** What went on while it ran: calls and first tokens by the second, and what neighbours and GPUs held. */
export function timeline(
  of: Pick<Benchmark, "environment"> & { result: BenchmarkResult },
  colourOf: ColourOf,
): Drawing[] {
  const { streams } = of.result;
  const length = Math.max(0, ...streams.map((one) => Math.ceil(one.began_seconds) + one.seconds.length));
  const at = Array.from({ length }, (_, second) => second);
  const by = (field: number): Layer[] =>
    streams.map((one) => ({
      name: streamName(one),
      colour: colourOf(one.deployment),
      dashed: one.role === "probe" || one.way === "engine",
      values: at.map((second) => one.seconds[second - Math.round(one.began_seconds)]?.[field] ?? null),
    }));
  const drawn = [
    overTime("Calls ended each second", at, by(1), count),
    overTime("First token, mean of each second", at, by(4), latency),
    ...held(of, colourOf),
  ];
  return drawn.filter((one) => one.layers.length && one.at.length > 1);
}

/** Memory of every engine on those GPUs, and their power. */
function held(of: Pick<Benchmark, "environment"> & { result: BenchmarkResult }, colourOf: ColourOf): Drawing[] {
  const { moments } = of.result;
  const at = moments.map((one) => one.at_seconds);
  const replicas = [...(of.environment.replicas ?? []), ...(of.environment.neighbours ?? [])];
  const neighbours = new Set(of.environment.neighbours?.map((one) => one.replica));
  const engines = (field: "memory_bytes" | "kv_limit_bytes"): Layer[] =>
    replicas.map((one) => ({
      name: `${one.deployment}${neighbours.has(one.replica) ? " (neighbour)" : ""}`,
      colour: colourOf(one.deployment),
      dashed: neighbours.has(one.replica),
      values: moments.map((moment) => moment.replicas[String(one.replica)]?.[field] ?? null),
    }));
  const power: Layer[] = (of.environment.gpus ?? []).map((gpu, index) => ({
    name: `GPU ${gpu.index}`,
    colour: index ? "--brass" : "--accent",
    values: moments.map((moment) => moment.gpus[gpu.uuid]?.power_watts ?? null),
  }));
  return [
    overTime("Memory of each engine", at, engines("memory_bytes"), bytes),
    overTime("KV memory that each may use", at, engines("kv_limit_bytes"), bytes),
    overTime("Power", at, power, (watts) => `${Math.round(watts)} W`),
  ];
}

/** What was seen of a benchmark while it runs. */
export function live(looks: readonly Look[], colourOf: ColourOf): Drawing[] {
  const at = looks.map((look) => look.at);
  const streams = looks.at(-1)?.streams ?? [];
  const by = (field: "calls_per_second" | "ttft_seconds" | "in_flight" | "tokens_per_second"): Layer[] =>
    streams.map((stream, index) => ({
      name: stream.role === "probe" ? `${stream.deployment}, probes` : stream.deployment,
      colour: colourOf(stream.deployment),
      dashed: stream.role === "probe",
      values: looks.map((look) => look.streams[index]?.[field] ?? null),
    }));
  return [
    overTime("Calls ended each second", at, by("calls_per_second"), count),
    overTime("First token", at, by("ttft_seconds"), latency),
    overTime("Calls in flight", at, by("in_flight"), count),
    overTime("Tokens of answers that ended, each second", at, by("tokens_per_second"), count),
  ].filter((one) => one.at.length > 1);
}

export interface Compared {
  readonly title: string;
  /** The figure of each run; an empty text where it has none. */
  readonly cells: readonly { text: string; delta: string; better: boolean | undefined }[];
}

const RATES = [
  ["Answered a second", "requests_per_second", rate],
  ["Tokens a second", "output_tokens_per_second", rate],
  ["Kept the SLO", "goodput_ratio", (value: number) => finePercent(value)],
] as const;
const COMPARED_TIMES = ["ttft", "answer", "tpot", "itl", "e2e"] as const;
const COMPARED_STATISTICS = ["p50", "p95", "p99"] as const;

/** One stream of several runs, figure by figure, with differences to the first. */
export function compared(sides: readonly Figures[]): Compared[] {
  const rates = RATES.map(([title, field, text]) =>
    row(
      title,
      sides.map((one) => one[field]),
      (value) => text(value),
      true,
    ),
  );
  const times = COMPARED_TIMES.flatMap((name) =>
    COMPARED_STATISTICS.map((statistic) =>
      row(
        `${TIMES[name][0]} ${statistic}`,
        sides.map((one) => one.times[name]?.[statistic] ?? null),
        latency,
        false,
      ),
    ),
  );
  const failed = row("Failed", sides.map(failedOf), count, false);
  return [...rates, failed, ...times].filter((one) => one.cells.some((cell) => cell.text !== UNKNOWN));
}

function row(title: string, values: (number | null)[], text: (value: number) => string, more: boolean): Compared {
  const first = values[0];
  return {
    title,
    cells: values.map((value, index) => {
      if (value === null || value === undefined) return { text: UNKNOWN, delta: "", better: undefined };
      if (index === 0 || !first) return { text: text(value), delta: "", better: undefined };
      const ratio = value / first;
      const same = Math.abs(ratio - 1) < 0.02;
      return { text: text(value), delta: change(ratio), better: same ? undefined : ratio > 1 === more };
    }),
  };
}

/** Streams that every one of these runs has, in the order of the first. */
export function commonStreams(runs: readonly BenchmarkResult[]): { name: string; sides: StreamResult[] }[] {
  const [first, ...others] = runs;
  return (first?.streams ?? []).flatMap((stream) => {
    const same = others.map((run) => run.streams.find((one) => streamName(one) === streamName(stream)));
    return same.every((one) => one !== undefined) ? [{ name: streamName(stream), sides: [stream, ...same] }] : [];
  });
}

/** The numbers in "?ids=3,4,7": two to four, each once. */
export function idsOf(search: string): number[] {
  const told = (new URLSearchParams(search).get("ids") ?? "").split(",").map(Number);
  return [...new Set(told.filter((id) => Number.isInteger(id) && id > 0))].slice(0, 4);
}
