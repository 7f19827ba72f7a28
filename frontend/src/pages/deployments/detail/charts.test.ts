import { expect, it } from "vitest";
import { ofCalls, ofEngines } from "./charts";

const AT = ["2030-01-01T10:00:00Z", "2030-01-01T10:01:00Z"];
const WHEN = { step_seconds: 60, since: "2030-01-01T10:00:00Z", until: "2030-01-01T11:00:00Z", at: AT };

it("what nothing is known of is not drawn", () => {
  const values = { tokens_per_second: [10, 30], running: [1, null], kv_usage_ratio: [null, null] };
  const drawn = ofEngines({ ...WHEN, subject: "deployment:chat", mean: values, greatest: values });
  expect(drawn.map(({ title }) => title)).toEqual(["Tokens per second", "Calls in engines"]);
  expect(drawn[0]?.words).toBe("Tokens per second: 20 on average, 30 at most.");
});

it("calls are drawn with their quantiles", () => {
  const values = { ttft_p50_seconds: [0.1, 0.3], ttft_p95_seconds: [1, 2], calls_per_second: [2, 4] };
  const [ttft, calls] = ofCalls({ ...WHEN, values });
  expect(ttft?.layers.map(({ name }) => name)).toEqual(["of half", "of 95 %"]);
  expect(ttft?.words).toContain("of 95 %: 1.5 s on average, 2 s at most");
  expect(calls?.title).toBe("Calls per second");
});
