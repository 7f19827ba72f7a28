import { describe, expect, it } from "vitest";
import type { BenchmarkRow } from "../../../api/types";
import { fieldsOf, lengths, runDraft, runRequest, streamDraft, withRow } from "./draft";
import { draftOf, lengthText } from "./from";

const load = (of: Parameters<typeof streamDraft>[1] = {}) => ({
  ...runDraft(),
  streams: [streamDraft(0, { deployment: "chat", ...of })],
});

it.each([
  ["128", { shape: "fixed", tokens: 128 }],
  ["50 - 200", { shape: "uniform", low: 50, high: 200 }],
  ["~200", { shape: "lognormal", tokens: 200 }],
  ["~200:0.8", { shape: "lognormal", tokens: 200, sigma: 0.8 }],
])("%s tokens are %j", (text, expected) => {
  const wrong = {};
  expect(lengths(text, "x", wrong)).toEqual(expected);
  expect(wrong).toEqual({});
});

it("a load is asked for as it was filled in", () => {
  const slo = { ttft: "500 ms", tpot: "0.05 s" };
  const { request, wrong } = runRequest({
    ...load({ pattern: "ramp", rate: "1", rate_end: "9", shared_prefix: "25", ...slo }),
    length: "2 min",
    probes: [{ row: 0, deployment: "code", every: "500 ms" }],
    isolated: true,
  });
  expect(wrong).toEqual({});
  expect(request).toMatchObject({
    seconds: 120,
    together: false,
    probes: [{ deployment: "code", every_seconds: 0.5 }],
  });
  expect(request.streams?.[0]).toMatchObject({
    arrival: { pattern: "ramp", rate: 1, rate_end: 9, ramp_seconds: 120 },
    shared_prefix_ratio: 0.25,
    slo: { ttft_seconds: 0.5, tpot_seconds: 0.05 },
    exact_output: true,
  });
});

describe("what is wrong is said at its field", () => {
  it("of a load", () => {
    const { wrong } = runRequest({
      ...load({ deployment: "", concurrency: "many", prompt: "long", ttft: "soon" }),
      length: "",
      probes: [{ row: 0, deployment: "", every: "1 s" }],
      seed: "x",
    });
    expect(wrong).toEqual({
      "streams.0.deployment": "choose a deployment",
      "streams.0.arrival.concurrency": "write a whole number",
      "streams.0.prompt": "write tokens: 128, 50-200, or ~200 for about so many",
      "streams.0.slo.ttft_seconds": "write a time such as 30 s or 5 min",
      "probes.0.deployment": "choose a deployment",
      seconds: "say when it ends: after a time, or after calls",
      seed: "write a whole number",
    });
    expect(fieldsOf(load())).toEqual(
      expect.arrayContaining(Object.keys(wrong).filter((field) => !field.startsWith("probes.0"))),
    );
  });

  it("of a search without an SLO, and of a trace that is not there", () => {
    expect(runRequest({ ...load(), sort: "search" }).wrong["streams.0.slo"]).toMatch("at least one");
    expect(runRequest({ ...load(), sort: "trace" }).wrong).toEqual({ trace: "choose a file, or paste its lines" });
  });
});

it("a search asks by percent and for bounded time", () => {
  const { request } = runRequest({ ...load({ ttft: "1 s" }), sort: "search", most: "10 min" });
  expect(request.search).toEqual({
    over: "rate",
    low: 1,
    high: 1000,
    ratio: 0.95,
    trial_seconds: 15,
    most_seconds: 600,
  });
});

it("rows of the form are told apart after one is gone", () => {
  const rows = withRow(
    withRow([] as { row: number }[], (row) => ({ row })),
    (row) => ({ row }),
  );
  expect(withRow(rows.slice(1), (row) => ({ row })).map((one) => one.row)).toEqual([1, 2]);
});

it("what was asked can be asked again", () => {
  const asked = load({
    pattern: "gamma",
    rate: "5",
    burstiness: "0.2",
    prompt: "~200:0.8",
    output: "10-20",
    ttft: "500 ms",
  });
  const { request } = runRequest({ ...asked, length: "45 s", name: "before" });
  const row = {
    kind: "load",
    name: "before",
    options: {},
    plan: { warmup_seconds: 0, calls: null, ...request },
  } as unknown as BenchmarkRow;
  expect(runRequest(draftOf(row)).request).toEqual(request);
  expect(lengthText({ shape: "lognormal", tokens: 9, sigma: 0.5 })).toBe("~9");
});
