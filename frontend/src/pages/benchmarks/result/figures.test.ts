import { describe, expect, it } from "vitest";
import type { Benchmark, BenchmarkResult } from "../../../api/types";
import { figures, stream, times } from "../benchmarks.fake";
import {
  commonStreams,
  compared,
  distribution,
  idsOf,
  knownTimes,
  live,
  shareBy,
  streamName,
  timeline,
  timeText,
} from "./figures";

const red = () => "red";

it("a percentile among calls that were not answered never came", () => {
  expect(timeText(times([0.5, 0.75], 1), "p99")).toBe("never");
  expect(timeText(times([0.5, 0.75]), "max")).toBe("750 ms");
  expect(timeText(undefined, "p50")).toBe("–");
});

it("times of which nothing is known are left out", () => {
  const itl = { ...times([1]), count: 0, never: 0 };
  expect(knownTimes(figures({ times: { ttft: times([1]), itl } }))).toEqual(["ttft"]);
});

describe("a distribution", () => {
  it.each([
    [0, 0],
    [1, 0],
    [2, 0.25],
    [2.5, 0.375],
    [9, 0.75],
  ])("by %s s a share of %s came, and what never came is never in it", (time, share) =>
    expect(shareBy(time, [1, 2, 3, 4, null])).toBeCloseTo(share),
  );

  it("says in words what is drawn, and is nothing where nothing came", () => {
    const line = { name: "chat", colour: "red", dashed: false, figures: figures() };
    const drawing = distribution("ttft", [line]);
    expect(drawing?.words).toBe("chat: half within 300 ms, 99 of 100 within 500 ms");
    expect(drawing?.layers[0]?.values.at(-1)).toBe(1);
    expect(distribution("itl", [line])).toBeUndefined();
  });
});

it("streams are named by whom they ask and how", () => {
  expect(streamName(stream())).toBe("chat");
  expect(streamName(stream({ role: "probe" }))).toBe("chat, probes");
  expect(streamName(stream({ way: "engine" }))).toBe("chat, straight to the engine");
});

it("a timeline shows a later stream later, and the memory of neighbours", () => {
  const environment = {
    gpus: [{ uuid: "g", index: 0 }],
    replicas: [{ deployment: "chat", replica: 1 }],
    neighbours: [{ deployment: "code", replica: 2 }],
  } as unknown as Benchmark["environment"];
  const moment = (at: number, bytes: number) => ({
    at_seconds: at,
    gpus: { g: { memory_used_bytes: 1, utilization_ratio: 1, power_watts: 300 } },
    replicas: { "2": { memory_bytes: bytes, kv_limit_bytes: null, running: 0, waiting: 0 } },
  });
  const result = {
    streams: [stream(), stream({ deployment: "code", began_seconds: 2 })],
    moments: [moment(0, 1), moment(1, 2)],
  } as unknown as BenchmarkResult;
  const drawings = timeline({ environment, result }, red);
  expect(drawings.map((one) => one.title)).toEqual([
    "Calls ended each second",
    "First token, mean of each second",
    "Memory of each engine",
    "Power",
  ]);
  expect(drawings[0]?.layers[1]?.values).toEqual([null, null, 0, 2]);
  expect(drawings[2]?.layers).toMatchObject([{ name: "code (neighbour)", values: [1, 2], dashed: true }]);
});

it("a run is drawn once it was looked at twice", () => {
  const streams = [{ deployment: "chat", role: "load", planned: 1, in_flight: 3, ok: 1, failed: 0 }].map((one) => ({
    ...one,
    calls_per_second: 2,
    tokens_per_second: 9,
    ttft_seconds: 0.25,
  }));
  const first = { at: 0, streams };
  expect(live([first], red)).toEqual([]);
  const drawn = live([first, { at: 1, streams }], red);
  expect(drawn.map((one) => one.layers[0]?.values)).toEqual([
    [2, 2],
    [0.25, 0.25],
    [3, 3],
    [9, 9],
  ]);
});

describe("beside one another", () => {
  it("differences are to the first, and less time is better while more calls are", () => {
    const slow = figures({ requests_per_second: 1, times: { ttft: times([0.2, 0.4, 0.6, 0.8, 1]) } });
    const rows = compared([figures(), slow, figures()]);
    const found = Object.fromEntries(rows.map((row) => [row.title, row.cells]));
    expect(found["Answered a second"]?.[1]).toEqual({ text: "1.0", delta: "-50 %", better: false });
    expect(found["First token p50"]?.[1]).toEqual({ text: "600 ms", delta: "+100 %", better: false });
    expect(found["First token p50"]?.[2]).toEqual({ text: "300 ms", delta: "+0.0 %", better: undefined });
    expect(found["Between tokens p50"]).toBeUndefined();
  });

  it("only streams that all of them have are compared", () => {
    const run = (...streams: ReturnType<typeof stream>[]) => ({ streams }) as unknown as BenchmarkResult;
    const both = run(stream(), stream({ deployment: "code" }));
    expect(commonStreams([both, run(stream())]).map((one) => one.name)).toEqual(["chat"]);
    expect(commonStreams([both, run(stream({ way: "engine" }))])).toEqual([]);
  });

  it.each([
    ["?ids=3,4", [3, 4]],
    ["?ids=3,3,x,-1,5", [3, 5]],
    ["?ids=1,2,3,4,5", [1, 2, 3, 4]],
    ["", []],
  ])("%s are %j", (search, ids) => expect(idsOf(search)).toEqual(ids));
});
