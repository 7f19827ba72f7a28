/** Where spans lie in a week that is drawn. Pure: which there are, and their words, is the server's to say. */
import type { Lane, Span, Week } from "../../api/types";

/** A span as drawn; `from` and `width` are parts of the week. */
export interface Bar {
  readonly key: string;
  readonly span: Span;
  readonly from: number;
  readonly width: number;
  /** Of those that overlap, each lies in a row of its own. */
  readonly row: number;
  /** It began before the week, or ends after it. */
  readonly cut: "" | "begin" | "end" | "both";
}

export interface DrawnLane {
  readonly lane: Lane;
  readonly bars: readonly Bar[];
  readonly rows: number;
}

export interface Bounds {
  readonly begins: number;
  readonly ends: number;
}

/** When a week begins and ends. */
export function bounds(week: Week): Bounds {
  return { begins: Date.parse(week.days[0]?.begins_at ?? ""), ends: Date.parse(week.days.at(-1)?.ends_at ?? "") };
}

/** Where an instant lies in the week, from 0 to 1; undefined outside. */
export function placeOf(at: number, { begins, ends }: Bounds): number | undefined {
  return at < begins || at >= ends ? undefined : (at - begins) / (ends - begins);
}

/** Every lane with its bars; what has the highest precedence lies on top. */
export function drawn(week: Week): DrawnLane[] {
  const held = bounds(week);
  return week.lanes.map((lane) => {
    const bars = stacked(lane.spans, held);
    return { lane, bars, rows: Math.max(1, ...bars.map((bar) => bar.row + 1)) };
  });
}

function stacked(spans: readonly Span[], held: Bounds): Bar[] {
  const rows: Bar[][] = [];
  const first = (a: Span, b: Span) => rank(b) - rank(a) || a.begins_at.localeCompare(b.begins_at);
  return spans.toSorted(first).map((span) => {
    const bar = barOf(span, held);
    let row = rows.findIndex((others) => others.every((other) => apart(bar, other)));
    if (row === -1) row = rows.push([]) - 1;
    const placed = { ...bar, row };
    rows[row]?.push(placed);
    return placed;
  });
}

/** Overrides go before windows, and of windows the one with the highest precedence. */
function rank(span: Span): number {
  return span.by === "override" ? Infinity : span.precedence;
}

function apart(one: Bar, other: Bar): boolean {
  return one.from + one.width <= other.from || other.from + other.width <= one.from;
}

function barOf(span: Span, { begins, ends }: Bounds): Bar {
  const from = Date.parse(span.begins_at);
  const to = Date.parse(span.ends_at);
  const [left, right] = [Math.max(from, begins), Math.min(to, ends)];
  return {
    key: `${span.by} ${span.id} ${span.begins_at}`,
    span,
    from: (left - begins) / (ends - begins),
    width: (right - left) / (ends - begins),
    row: 0,
    cut: from < begins ? (to > ends ? "both" : "begin") : to > ends ? "end" : "",
  };
}
