/** A benchmark that was asked for, as the form holds it: to ask for the same again. Pure. */
import type { BenchmarkRow, DrillKind, LengthsRequest, StreamRequest } from "../../../api/types";
import { bytes, latency, rate } from "../../../lib/format";
import { DRILLS, runDraft, SLOS, streamDraft, type RunDraft, type Slo, type StreamDraft } from "./draft";

interface Plan {
  streams: (StreamRequest & { arrival: { trace_calls?: number } })[];
  probes: { deployment: string; every_seconds: number }[];
  together: boolean;
  seconds: number | null;
  calls: number | null;
  warmup_seconds: number;
}

/** The form; a trace and prompts from a file have to be given again. */
export function draftOf(row: BenchmarkRow): RunDraft {
  const plan = row.plan as unknown as Plan;
  const options = row.options as Record<string, number | string>;
  const draft = runDraft();
  const time = (value: number | null | undefined) => (value ? `${value} s` : "");
  const told = (name: string, before: string) => (options[name] === undefined ? before : String(options[name]));
  return {
    ...draft,
    sort: plan.streams.some((one) => one.arrival.trace_calls) ? "trace" : (row.kind as "load" | "search" | "drill"),
    name: row.name,
    streams: plan.streams.map((stream, index) => streamOf(stream, index)),
    probes: plan.probes.map((probe, index) => ({
      row: index,
      deployment: probe.deployment,
      every: time(probe.every_seconds),
    })),
    length: row.kind === "load" ? time(plan.seconds) : draft.length,
    calls: row.kind === "load" && plan.calls ? String(plan.calls) : "",
    warmup: time(plan.warmup_seconds),
    isolated: !plan.together,
    metered: row.metered,
    keeps_awake: row.keeps_awake,
    over: options["over"] === "concurrency" ? "concurrency" : "rate",
    low: told("low", draft.low),
    high: told("high", draft.high),
    ratio: options["ratio"] === undefined ? draft.ratio : String(Math.round(Number(options["ratio"]) * 1000) / 10),
    trial: time(options["trial_seconds"] as number) || draft.trial,
    most: time(options["most_seconds"] as number) || draft.most,
    drill: String(options["kind"]) in DRILLS ? (options["kind"] as DrillKind) : draft.drill,
    level: options["level"] === 2 ? "2" : "1",
    cycles: told("cycles", draft.cycles),
    turn: time(options["turn_seconds"] as number) || draft.turn,
    kv: options["kv_bytes"] ? bytes(Number(options["kv_bytes"])) : "",
  };
}

function streamOf(stream: StreamRequest, row: number): StreamDraft {
  const { arrival, prompt, output, slo } = stream;
  const before = streamDraft(row);
  const limits = Object.fromEntries(
    (Object.keys(SLOS) as Slo[]).map((name) => {
      const limit = slo?.[`${name}_seconds`];
      return [name, limit ? latency(limit) : ""];
    }),
  ) as Record<Slo, string>;
  return {
    ...before,
    ...limits,
    deployment: stream.deployment,
    pattern: (arrival?.pattern ?? before.pattern) as StreamDraft["pattern"],
    concurrency: String(arrival?.concurrency ?? before.concurrency),
    rate: String(arrival?.rate ?? before.rate),
    rate_end: String(arrival?.rate_end ?? before.rate_end),
    burstiness: String(arrival?.burstiness ?? before.burstiness),
    prompt: lengthText(prompt) || before.prompt,
    output: lengthText(output) || before.output,
    shared_prefix: stream.shared_prefix_ratio ? rate(stream.shared_prefix_ratio * 100) : "",
    free_output: stream.exact_output === false,
    kind: stream.kind ?? before.kind,
    way: stream.way ?? before.way,
  };
}

/** As `lengths` of the form reads it. */
export function lengthText(of: LengthsRequest | undefined): string {
  if (of === undefined) return "";
  if (of.shape === "uniform") return `${of.low}-${of.high}`;
  if (of.shape === "lognormal") return `~${of.tokens}${of.sigma === 0.5 ? "" : `:${of.sigma}`}`;
  return String(of.tokens);
}
