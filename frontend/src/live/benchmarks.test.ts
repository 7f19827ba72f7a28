import { describe, expect, it } from "vitest";
import type { BenchmarkRow } from "../api/types";
import { heard, isOpen, share, withHeard, type Benchmarks, type StreamProgress } from "./benchmarks";

const stream = (ok: number, role = "load"): StreamProgress => ({
  deployment: "chat",
  role,
  planned: ok,
  in_flight: 1,
  ok,
  failed: 0,
  calls_per_second: 2,
  tokens_per_second: 40,
  ttft_seconds: 0.2,
});
const row = (id: number, of: Partial<BenchmarkRow> = {}) =>
  ({ id, status: "running", progress: { streams: [stream(1)] }, ...of }) as BenchmarkRow;
const event = (id: number, seq: number, of: BenchmarkRow | null) =>
  ({ type: "event", kind: "benchmark", id, seq, row: of }) as const;

describe("what is heard", () => {
  it("keeps a look for each event while it runs, and its time since the first", () => {
    let known: Benchmarks = new Map();
    known = heard(known, event(1, 1000, row(1, { status: "queued", progress: {} })));
    for (const seq of [5000, 6000, 7500]) known = heard(known, event(1, seq, row(1)));
    expect(known.get(1)?.looks.map((look) => look.at)).toEqual([0, 1, 2.5]);
    known = heard(known, event(1, 9000, row(1, { status: "done" })));
    expect(known.get(1)?.looks.length).toBe(3);
    expect(known.get(1)?.row?.status).toBe("done");
  });

  it("changes nothing when it is older than what is known", () => {
    const known = heard(new Map(), event(1, 5000, row(1, { status: "done" })));
    expect(heard(known, event(1, 4000, row(1)))).toBe(known);
  });

  it("has no look before calls are made", () => {
    expect(heard(new Map(), event(1, 1, row(1, { status: "queued", progress: {} }))).get(1)?.looks).toEqual([]);
  });
});

it("rows that were read are overwritten only by what was heard since", () => {
  let known: Benchmarks = heard(new Map(), event(1, 5000, row(1)));
  known = heard(known, event(3, 9000, row(3)));
  known = heard(known, event(2, 9000, null));
  const read = [row(2, { status: "done" }), row(1, { status: "done" })];
  expect(withHeard(read, known, 8000).map((one) => [one.id, one.status])).toEqual([
    [3, "running"],
    [1, "done"],
  ]);
});

it.each([
  [{ progress: { drill: { done: 3, cycles: 12 } } }, 0.25],
  [{ progress: { elapsed_seconds: 15, total_seconds: 30 } }, 0.5],
  [{ progress: { elapsed_seconds: 45, total_seconds: 30 } }, 1],
  [{ progress: { calls: 10, streams: [stream(5), stream(2), stream(90, "probe")] } }, 0.2],
  [{ progress: { search: { trying: 2, trials: 1, kept: 1, spent_seconds: 30, most_seconds: 300 } } }, 0.1],
  [{ progress: {} }, undefined],
])("%j is %s of the way", (of, expected) => expect(share(row(1, of as Partial<BenchmarkRow>))).toBe(expected));

it("ends once", () => {
  expect(["queued", "running", "done", "failed", "cancelled"].filter((status) => isOpen({ status }))).toEqual([
    "queued",
    "running",
  ]);
});
