/** What is asked of usage: the span, the grouping, the filters. Pure. Every instant is milliseconds since 1970, and UTC. */
import type { HoursRow, Sums } from "../../api/types";

export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;
const LONGEST_DAYS = 366;

export const SPANS = {
  "24h": "24 hours",
  yesterday: "Yesterday",
  "7d": "7 days",
  "30d": "30 days",
  custom: "From, to",
} as const;
export type Span = keyof typeof SPANS;
export const GROUPS = { model: "Model", team: "Team", key: "Key" } as const;
export type Group = keyof typeof GROUPS;

export interface View {
  span: Span;
  /** Days as `<input type="date">` has them, the last one included; used where the span is "custom". */
  from: string;
  to: string;
  by: Group;
  /** A served name, and ids; "" for all. */
  model: string;
  team: string;
  key: string;
}

export const FIRST_VIEW: View = { span: "24h", from: "", to: "", by: "model", model: "", team: "", key: "" };

export interface Bounds {
  readonly since: number;
  /** Not included. */
  readonly until: number;
  /** What a bar stands for: an hour, a day or a week. */
  readonly step: number;
}

/** Whole hours or days that end with the present one, or the days asked for; or what is wrong with those. */
export function bounds(view: View, now: number): Bounds | string {
  if (view.span === "24h") {
    const until = floor(now, HOUR) + HOUR;
    return { since: until - 24 * HOUR, until, step: HOUR };
  }
  if (view.span === "yesterday") {
    const until = floor(now, DAY);
    return { since: until - DAY, until, step: HOUR };
  }
  if (view.span !== "custom") {
    const until = floor(now, DAY) + DAY;
    return { since: until - (view.span === "7d" ? 7 : 30) * DAY, until, step: DAY };
  }
  const since = Date.parse(`${view.from}T00:00:00Z`);
  const last = Date.parse(`${view.to}T00:00:00Z`);
  if (Number.isNaN(since) || Number.isNaN(last)) return "choose a first and a last day";
  const days = (last - since) / DAY + 1;
  if (days < 1) return "the last day is before the first";
  if (days > LONGEST_DAYS) return `choose at most ${LONGEST_DAYS} days`;
  return { since, until: last + DAY, step: days <= 3 ? HOUR : days <= 92 ? DAY : 7 * DAY };
}

function floor(at: number, step: number): number {
  return Math.floor(at / step) * step;
}

/** "2030-01-31" of an instant. */
export function dayText(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}

function narrowed(view: View, { since, until }: Bounds): URLSearchParams {
  const query = new URLSearchParams({ since: new Date(since).toISOString(), until: new Date(until).toISOString() });
  for (const field of ["model", "team", "key"] as const) if (view[field]) query.set(field, view[field]);
  return query;
}

/** Asks for the sums of each group over the whole span. */
export function groupsQuery(view: View, within: Bounds): string {
  const query = narrowed(view, within);
  query.set("group_by", view.by);
  return query.toString();
}

/** Asks for the sums of each group by the hour or day. */
export function barsQuery(view: View, within: Bounds): string {
  const query = narrowed(view, within);
  query.set("group_by", `${within.step === HOUR ? "hour" : "day"},${view.by}`);
  return query.toString();
}

/** Where the same sums lie as CSV. */
export function csvHref(view: View, within: Bounds): string {
  return `/api/usage/hours?${barsQuery(view, within)}&format=csv`;
}

/** Asks for a page of single calls; `outcome` "" is every one. */
export function callsQuery(view: View, within: Bounds, outcome: string, offset: number, limit: number): string {
  const query = narrowed(view, within);
  if (outcome) query.set("outcome", outcome);
  query.set("limit", String(limit));
  query.set("offset", String(offset));
  return query.toString();
}

/** The view as the part of the address behind `?`; what is as at first is left out. */
export function viewToQuery(view: View): string {
  const query = new URLSearchParams();
  for (const field of Object.keys(FIRST_VIEW) as (keyof View)[]) {
    const unused = view.span !== "custom" && (field === "from" || field === "to");
    if (!unused && view[field] !== FIRST_VIEW[field]) query.set(field, view[field]);
  }
  return query.toString();
}

/** The view of an address; what makes no sense there is as at first. */
export function viewFromQuery(text: string): View {
  const query = new URLSearchParams(text);
  const view: Record<keyof View, string> = { ...FIRST_VIEW };
  for (const field of Object.keys(FIRST_VIEW) as (keyof View)[]) view[field] = query.get(field) ?? FIRST_VIEW[field];
  if (!(view.span in SPANS)) view.span = FIRST_VIEW.span;
  if (!(view.by in GROUPS)) view.by = FIRST_VIEW.by;
  return view as View;
}

/** A group's sums. */
export interface GroupSums extends Sums {
  /** The served name, or the id of the team or key; "" where there is none. */
  readonly id: string;
  readonly name: string;
}

const NOBODY: Record<Group, string> = { model: "no model", team: "no team", key: "deleted keys" };

/** The id of a row's group; "" for calls that belong to none. */
export function groupId(row: HoursRow, by: Group): string {
  return by === "model" ? (row.served_name ?? "") : String(row[by] ?? "");
}

/** Groups by name; a name that two have is told apart by the id. */
export function groups(rows: readonly HoursRow[], by: Group): GroupSums[] {
  const named = rows.map((row) => {
    const name = by === "model" ? row.served_name : by === "team" ? row.team_name : row.key_name;
    return { ...row, id: groupId(row, by), name: name || NOBODY[by] };
  });
  const times = new Map<string, number>();
  for (const { name } of named) times.set(name, (times.get(name) ?? 0) + 1);
  return named.map((row) => (times.get(row.name) === 1 ? row : { ...row, name: `${row.name} #${row.id || "–"}` }));
}

/** Columns of the table: what they are called and what they say; null where there is nothing to divide by. */
export const COLUMNS = {
  calls: { word: "Calls", of: (sums: Sums) => sums.calls },
  failed: { word: "Failed", of: (sums: Sums) => ratio(sums.failed, sums.calls) },
  prompt: { word: "Prompt tokens", of: (sums: Sums) => sums.prompt_tokens },
  cached: { word: "Cached", of: (sums: Sums) => ratio(sums.cached_tokens, sums.prompt_tokens) },
  completion: { word: "Completion tokens", of: (sums: Sums) => sums.completion_tokens },
  gpu: { word: "GPU time", of: (sums: Sums) => sums.gpu_seconds },
  queue: { word: "Mean queue", of: (sums: Sums) => ratio(sums.queue_seconds, sums.calls) },
  wake: { word: "Mean wake", of: (sums: Sums) => ratio(sums.wake_seconds, sums.calls) },
  ttft: { word: "First token", of: (sums: Sums) => sums.ttft_p95_seconds ?? null },
  e2e: { word: "Duration", of: (sums: Sums) => sums.e2e_p95_seconds ?? null },
} as const;
export type Column = keyof typeof COLUMNS;

/** What the halves of a column of quantiles mean; they are sorted by the second. */
export const QUANTILES_ABOUT = "p50 and p95: half of the calls took at most the first, 19 of 20 at most the second";

/** From here on the ratio of failed calls is told in red. */
export const MANY_FAILED = 0.01;

function ratio(part: number, whole: number): number | null {
  return whole > 0 ? part / whole : null;
}

/** The groups in the order of a column, or of their names; unknown last, equals by name. */
export function sorted(given: readonly GroupSums[], by: Column | "name", descending: boolean): GroupSums[] {
  const byName = (a: GroupSums, b: GroupSums) => a.name.localeCompare(b.name, "en", { numeric: true });
  const sign = descending ? -1 : 1;
  if (by === "name") return given.toSorted((a, b) => sign * byName(a, b));
  const { of } = COLUMNS[by];
  return given.toSorted((a, b) => {
    const [left, right] = [of(a), of(b)];
    if (left === null || right === null) return Number(left === null) - Number(right === null) || byName(a, b);
    return sign * (left - right) || byName(a, b);
  });
}
