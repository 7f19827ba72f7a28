import { describe, expect, it } from "vitest";
import type { CallFigures, Speed } from "../../api/types";
import * as traffic from "./traffic";

const view = (given: Partial<traffic.View> = {}): traffic.View => ({ ...traffic.FIRST_VIEW, ...given });

describe("an address", () => {
  it.each([
    ["", view()],
    ["?span=day&by=team&team=3", view({ span: "day", by: "team", team: "3" })],
    ["?model=org%2Fchat&key=12", view({ model: "org/chat", key: "12" })],
    ["?span=constructor&by=toString&key=a&team=0", view()],
  ])("%s shows what it says", (search, shown) => expect(traffic.viewFromQuery(search)).toEqual(shown));

  it("says only what is not so anyway, and says it again", () => {
    expect(traffic.viewToQuery(view())).toBe("");
    const shown = view({ span: "week", by: "key", model: "a b" });
    expect(traffic.viewToQuery(shown)).toBe("span=week&by=key&model=a+b");
    expect(traffic.viewFromQuery(`?${traffic.viewToQuery(shown)}`)).toEqual(shown);
  });
});

describe("a question", () => {
  const DEPLOYMENTS = [{ name: "chat-a", served_name: "chat" }];

  it("of ended calls has the span, the groups and the filters", () =>
    expect(traffic.figuresQuery(view({ span: "live", by: "key", model: "chat", team: "3" }))).toBe(
      "hours=0.25&by=key&team=3&model=chat",
    ));

  it.each([
    [view(), "limit=100"],
    [view({ model: "chat", key: "2" }), "limit=100&key=2&deployment=chat-a"],
    [view({ model: "gone" }), undefined],
  ])("of calls in flight names the deployment", (shown, query) =>
    expect(traffic.callsQuery(shown, DEPLOYMENTS)).toBe(query),
  );
});

it("a group alone is shown by what it is made of", () => {
  expect(traffic.closer(view(), "chat")).toEqual(view({ model: "chat", by: "key" }));
  expect(traffic.closer(view({ by: "team" }), "3")).toEqual(view({ team: "3", by: "model" }));
});

it.each([
  [{ count: 0, states: {} }, "no call"],
  [{ count: 1, states: { streaming: 1, waking: 0 } }, "1 call: 1 streaming"],
  [{ count: 3, states: { streaming: 2, waking: 1 } }, "3 calls: 1 waiting for the model, 2 streaming"],
])("%j is told in words", (found, words) => expect(traffic.inFlightWords(found)).toBe(words));

it.each([
  [undefined, undefined],
  [9_000, undefined],
  [5_000, undefined],
  [3_900, 6],
])("what came at %s of ten seconds is stale for %s", (at, age) => expect(traffic.staleSeconds(at, 10_000)).toBe(age));

it.each([
  [0, "0"],
  [0.004, "<0.01"],
  [0.014, "0.01"],
  [0.5, "0.50"],
  [3.21, "3.2"],
  [1234.5, "1,235"],
])("%s per second is %s", (value, words) => expect(traffic.perSecond(value)).toBe(words));

it("without a call nothing failed or not", () => {
  expect(traffic.failedRatio({ calls: 0, failed: 0 } as CallFigures)).toBeNull();
  expect(traffic.failedRatio({ calls: 4, failed: 1 } as CallFigures)).toBe(0.25);
});

describe("charts", () => {
  const speed = (values: Speed["values"]): Speed => ({
    step_seconds: 10,
    since: "2030-01-31T12:00:00Z",
    until: "2030-01-31T12:15:00Z",
    at: ["2030-01-31T12:00:00Z", "2030-01-31T12:00:10Z"],
    values,
  });

  it("know the last minute apart, a step without a call in it as none", () => {
    const two = speed({ calls_per_second: [1, 2] });
    expect(traffic.lastMinute(two, "calls_per_second")).toBe(0);
    expect(traffic.lastMinute({ ...two, until: "2030-01-31T12:01:05Z" }, "calls_per_second")).toBeCloseTo(20 / 60);
    expect(traffic.lastMinute({ ...two, step_seconds: 300 }, "calls_per_second")).toBeUndefined();
  });

  it("count a step without a call as none, and have times of those with calls only", () => {
    const told = {
      ...speed({ calls_per_second: [1, 2], ttft_p50_seconds: [0.1, 0.2] }),
      since: "2030-01-31T11:59:45Z",
      until: "2030-01-31T12:00:25Z",
    };
    expect(traffic.dense(told).rates("calls_per_second")).toEqual([0, 0, 1, 2, 0]);
    const ttft = traffic.drawings(told).find(({ title }) => title === "Time to first token");
    expect(ttft?.layers[0]?.values).toEqual([0.1, 0.2]);
  });

  it("begin at the first call where single calls may be kept no more", () => {
    const month = { ...speed({ calls_per_second: [1, 2] }), since: "2030-01-01T00:00:00Z", step_seconds: 7200 };
    const at = ["2030-01-31T06:00:00Z", "2030-01-31T10:00:00Z"];
    expect(traffic.dense({ ...month, at }).rates("calls_per_second")).toEqual([1, 0, 2, 0]);
  });

  it("begin with how much is asked, and what nothing is known of is left out", () => {
    const shown = traffic.drawings(
      speed({
        calls_per_second: [1, 2],
        failed_per_second: [0, 0],
        tokens_per_second: [10, 20],
        ttft_p50_seconds: [0.1, null],
        ttft_p95_seconds: [0.2, null],
        gap_p50_seconds: [null, null],
        gap_p95_seconds: [null, null],
      }),
    );
    expect(shown.map(({ title }) => title)).toEqual([
      "Calls per second",
      "Completion tokens per second",
      "Time to first token",
    ]);
  });
});
