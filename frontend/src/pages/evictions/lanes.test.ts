import { expect, it } from "vitest";
import type { HolderLane } from "../../api/types";
import { blocks, inWords, shown } from "./lanes";

const SINCE = "2026-01-01T00:00:00Z";
const UNTIL = "2026-01-01T10:00:00Z";
const at = (hour: number) => `2026-01-01T0${hour}:00:00Z`;
const lane = (...spans: [string, number, number | null][]): HolderLane => ({
  replica: 7,
  deployment: "chat",
  gone: false,
  spans: spans.map(([state, from, to]) => ({
    state,
    since: at(from),
    until: to === null ? null : at(to),
    sentence: "it does",
  })),
});

it("a span is where its time is, and one that goes on reaches the end", () => {
  const [ready, asleep] = blocks(lane(["ready", 1, 6], ["sleeping", 6, null]), SINCE, UNTIL);
  expect([ready?.left, ready?.width]).toEqual([0.1, 0.5]);
  expect([asleep?.left, asleep?.width, asleep?.seconds]).toEqual([0.6, 0.4, 4 * 3600]);
});

it("what was stopped holds no GPU", () => {
  const stopped = lane(["stopped", 1, null]);
  expect([blocks(stopped, SINCE, UNTIL), shown([stopped], SINCE, UNTIL)]).toEqual([[], []]);
});

it("says all of it in words", () =>
  expect(inWords(lane(["ready", 1, 2], ["sleeping", 2, 4], ["ready", 4, 5]), SINCE, UNTIL)).toBe(
    "chat/7: ready 2 h, sleeping 2 h",
  ));
