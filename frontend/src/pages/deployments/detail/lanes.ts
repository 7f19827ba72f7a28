/** A timeline of states, as it is drawn and as it is read aloud. Pure. */
import type { Lanes, ReplicaLane, State } from "../../../api/types";
import { clock, duration, lowered, zone } from "../../../lib/format";
import { STATES } from "../../../lib/words";

export interface Block {
  readonly state: string;
  /** Parts of the whole, 0 to 1. */
  readonly from: number;
  readonly width: number;
  readonly words: string;
}

export const wordOf = (state: string): string => STATES[state as State] ?? state;

/** The stretches of one replica. */
export function blocks(lane: ReplicaLane, { since, until }: Pick<Lanes, "since" | "until">): Block[] {
  const [begin, end] = [Date.parse(since), Date.parse(until)];
  const part = (at: number) => Math.min(1, Math.max(0, (at - begin) / (end - begin)));
  return lane.spans.map((span) => {
    const [from, to] = [Date.parse(span.since), span.until === null ? end : Date.parse(span.until)];
    const lasted = `${duration((to - from) / 1000)}${span.until === null ? " until now" : ""}`;
    return {
      state: span.state,
      from: part(from),
      width: part(to) - part(from),
      words: `${wordOf(span.state)}, ${clock(from, zone())}, ${lasted}: ${span.sentence}`,
    };
  });
}

/** How long it was in each state, the longest first. */
export function sums(lane: ReplicaLane, { until }: Pick<Lanes, "until">): string {
  const total = new Map<string, number>();
  for (const span of lane.spans) {
    const seconds = (Date.parse(span.until ?? until) - Date.parse(span.since)) / 1000;
    total.set(span.state, (total.get(span.state) ?? 0) + seconds);
  }
  return [...total]
    .sort(([, a], [, b]) => b - a)
    .map(([state, seconds]) => `${lowered(wordOf(state))} ${duration(seconds)}`)
    .join(", ");
}
