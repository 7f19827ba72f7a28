/** Spans of a timeline as parts of its width, and in words. Pure. */
import type { HolderLane } from "../../api/types";
import { duration, lowered } from "../../lib/format";
import { STATES } from "../../lib/words";

export const RANGES = { "1": "1 hour", "6": "6 hours", "24": "1 day", "168": "7 days" } as const;
export type Range = keyof typeof RANGES;

export interface Block {
  readonly state: HolderLane["spans"][number]["state"];
  /** Parts of the whole, from 0 to 1. */
  readonly left: number;
  readonly width: number;
  readonly seconds: number;
  readonly sentence: string;
}

/** States in which a replica is on its GPU: what was stopped or failed holds nothing. */
const HOLDS = new Set(["starting", "ready", "draining", "sleeping", "waking", "stopping"]);

export function blocks(lane: HolderLane, since: string, until: string): Block[] {
  const [from, to] = [Date.parse(since), Date.parse(until)];
  return lane.spans
    .filter((span) => HOLDS.has(span.state))
    .map((span) => {
      const begin = Math.max(Date.parse(span.since), from);
      const end = Math.min(span.until === null ? to : Date.parse(span.until), to);
      return {
        state: span.state,
        left: (begin - from) / (to - from),
        width: Math.max(0, end - begin) / (to - from),
        seconds: Math.max(0, end - begin) / 1000,
        sentence: span.sentence,
      };
    });
}

/** Those that were there at all in the span. */
export const shown = (lanes: readonly HolderLane[], since: string, until: string): HolderLane[] =>
  lanes.filter((lane) => blocks(lane, since, until).some((block) => block.seconds > 0));

/** "chat/7: ready 1 h, sleeping 20 min", of the whole lane. */
export function inWords(lane: HolderLane, since: string, until: string): string {
  const sums = new Map<string, number>();
  for (const { state, seconds } of blocks(lane, since, until)) sums.set(state, (sums.get(state) ?? 0) + seconds);
  const parts = [...sums]
    .filter(([, seconds]) => seconds > 0)
    .map(([state, seconds]) => `${wordOf(state)} ${duration(seconds)}`);
  return `${lane.deployment}/${lane.replica}: ${parts.join(", ")}${lane.gone ? ", gone now" : ""}`;
}

export const wordOf = (state: string): string => lowered(STATES[state as keyof typeof STATES] ?? state);
