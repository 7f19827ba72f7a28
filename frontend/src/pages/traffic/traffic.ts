/** What the traffic page shows: the span, the grouping, the filters, as its address has them and as the server is asked. Pure. */
import { word } from "../../language/word";
import type { CallFigures, RunningCall, RunningCalls, Speed } from "../../api/types";
import type { Drawing, Layer } from "../../charts/drawing";
import { count, hundredths, lowered, plural, rate, span } from "../../lib/format";
import { known, lines, seconds } from "../deployments/detail/charts";

export const SPANS = { live: "15 min", hour: "1 h", day: "24 h", week: "7 d", month: "30 d" } as const;
export type Span = keyof typeof SPANS;
export const HOURS: Readonly<Record<Span, number>> = { live: 0.25, hour: 1, day: 24, week: 168, month: 720 };
/** The longer the span, the longer its sums take and the less they change. */
export const REFRESH_SECONDS: Readonly<Record<Span, number>> = { live: 5, hour: 5, day: 15, week: 60, month: 60 };

export const GROUPS = { model: "Deployment", key: "Key", team: "Team" } as const;
export type Group = keyof typeof GROUPS;

type Values = Layer["values"];

export interface View {
  span: Span;
  by: Group;
  /** A served name. */
  model: string;
  /** Ids. */
  key: string;
  team: string;
}
export const FIRST_VIEW: View = { span: "live", by: "model", model: "", key: "", team: "" };

const has = <K extends string>(names: Readonly<Record<K, unknown>>, name: string): name is K =>
  Object.hasOwn(names, name);
const idOf = (text: string | null) => (text !== null && /^[1-9]\d{0,17}$/.test(text) ? text : "");

export function viewFromQuery(search: string): View {
  const query = new URLSearchParams(search);
  const [long, by] = [query.get("span") ?? "", query.get("by") ?? ""];
  return {
    span: has(SPANS, long) ? long : FIRST_VIEW.span,
    by: has(GROUPS, by) ? by : FIRST_VIEW.by,
    model: query.get("model") ?? "",
    key: idOf(query.get("key")),
    team: idOf(query.get("team")),
  };
}

/** Without what is so anyway. */
export function viewToQuery(view: View): string {
  const told = Object.entries(view).filter(([name, value]) => value !== FIRST_VIEW[name as keyof View]);
  return new URLSearchParams(told as [string, string][]).toString();
}

/** As `/api/usage/speed` and `/api/usage/figures` take it. */
export function figuresQuery(view: View): string {
  return new URLSearchParams({ hours: String(HOURS[view.span]), by: view.by, ...narrowed(view, "model") }).toString();
}

/** As `/api/calls` takes it; undefined where no deployment has this served name, so that nothing can be in flight. */
export function callsQuery(
  view: View,
  deployments: readonly { name: string; served_name: string }[],
): string | undefined {
  const query = new URLSearchParams({ limit: "100", ...narrowed(view) });
  if (!view.model) return query.toString();
  const deployment = deployments.find((one) => one.served_name === view.model);
  if (!deployment) return undefined;
  query.set("deployment", deployment.name);
  return query.toString();
}

function narrowed(view: View, ...more: "model"[]): Record<string, string> {
  return Object.fromEntries(
    (["key", "team", ...more] as const).filter((name) => view[name]).map((name) => [name, view[name]]),
  );
}

/** Show one group alone, and what it is made of. */
export function closer(view: View, id: string): View {
  return { ...view, [view.by]: id, by: view.by === "model" ? "key" : "model" };
}

export const STATES: Readonly<Record<RunningCall["state"], { word: string; about: string }>> = {
  routing: { word: "Being routed", about: "its limits and its route are looked up" },
  waking: { word: "Waiting for the model", about: "no replica is ready yet" },
  queued: { word: "Queued", about: "it waits for a seat at the ready model" },
  asked: { word: "At the engine", about: "an engine has it and has answered nothing yet" },
  streaming: { word: "Streaming", about: "its answer is on the way to the client" },
};

/** "3 calls: 1 waiting for the model, 2 streaming". */
export function inFlightWords({ count: all, states }: Pick<RunningCalls, "count" | "states">): string {
  const parts = Object.entries(STATES)
    .filter(([state]) => states[state])
    .map(([state, { word }]) => `${count(states[state])} ${lowered(word)}`);
  return parts.length ? `${plural(all, ["# call", "# calls"])}: ${parts.join(", ")}` : "no call";
}

/** A number per second; rare calls have one, too: 0.014 -> "0.01". */
export function perSecond(value: number): string {
  if (value > 0 && value < 0.01) return `<${hundredths(0.01)}`;
  return value > 0 && value < 0.95 ? hundredths(value) : rate(value);
}

/** What the last minute came to per second; undefined where steps are longer, so that nobody knows. */
export function lastMinute(speed: Speed, field: string): number | undefined {
  const { step_seconds: step, at, values } = speed;
  if (step > 60) return undefined;
  const since = Date.parse(speed.until) - 60_000;
  const each = at.map((moment, index) => (Date.parse(moment) >= since ? (values[field]?.[index] ?? 0) : 0));
  return each.reduce((sum, value) => sum + value * step, 0) / 60;
}

/** Which part of the calls failed; null without any. */
export const failedRatio = (figures: CallFigures) => (figures.calls ? figures.failed / figures.calls : null);

const DAY_MS = 86_400_000;

/** What is counted per second, with the steps in which no call ended as none. Of long spans what is before the first call may be kept no more. */
export function dense(speed: Speed): { at: number[]; rates: (field: string) => number[] } {
  const { step_seconds: step, values } = speed;
  const [since, until] = [Date.parse(speed.since), Date.parse(speed.until)];
  const told = seconds(speed.at);
  const whole = Math.floor(since / 1000 / step) * step;
  const first = until - since <= DAY_MS + step * 1000 ? whole : (told[0] ?? whole);
  const places = new Map(told.map((at, index) => [at, index]));
  const at = Array.from({ length: Math.max(0, Math.ceil((until / 1000 - first) / step)) }, (_, n) => first + n * step);
  return { at, rates: (field) => at.map((moment) => values[field]?.[places.get(moment) ?? -1] ?? 0) };
}

/** Of calls that ended, step by step. Times are of steps with calls only, so that a lone one is still drawn as a point. */
export function drawings(speed: Speed): Drawing[] {
  const { at, rates } = dense(speed);
  const told = seconds(speed.at);
  const times = (field: string): Values => speed.values[field] ?? told.map(() => null);
  const halves = (field: string) => [
    { name: "of half", colour: "--accent", values: times(`${field}_p50_seconds`) },
    { name: "of 95 %", colour: "--brass", values: times(`${field}_p95_seconds`) },
  ];
  return known(speed.step_seconds, [
    lines("Calls per second", at, perSecond, [
      { name: word("all"), colour: "--accent", values: rates("calls_per_second") },
      { name: word("failed"), colour: "--bad", values: rates("failed_per_second") },
    ]),
    lines("Completion tokens per second", at, perSecond, [
      { name: word("generated"), colour: "--accent", values: rates("tokens_per_second") },
    ]),
    lines("Time to first token", told, span, halves("ttft")),
    lines("Time between pieces of a stream", told, span, halves("gap")),
    lines("Waited, 95 %", told, span, [
      { name: "for a seat", colour: "--accent", values: times("queue_p95_seconds") },
      { name: "for the model", colour: "--brass", values: times("wake_p95_seconds") },
    ]),
  ]);
}

/** What is shown may be old: nothing came for so long. */
export const STALE_SECONDS = 5;
export function staleSeconds(at: number | undefined, now: number): number | undefined {
  const age = at === undefined ? 0 : Math.floor((now - at) / 1000);
  return age > STALE_SECONDS ? age : undefined;
}
