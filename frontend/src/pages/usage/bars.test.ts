import { describe, expect, it } from "vitest";
import { barLabel, barName, bars, hueOfName, labelled, series, ticks } from "./bars";
import { hue } from "../../lib/hue";
import { DAY, groups, HOUR, type Bounds } from "./usage";
import { hoursRow } from "./usage.fake";

const at = (text: string) => Date.parse(`${text}Z`);
const spring: Bounds = { since: at("2030-03-30T22:00"), until: at("2030-03-31T04:00"), step: HOUR };
const many = (count: number) =>
  groups(
    Array.from({ length: count }, (_, index) => hoursRow({ served_name: `m${index}`, calls: count - index })),
    "model",
  );

describe("series", () => {
  it("are the largest groups, then the rest as one", () => {
    const found = series(many(12), "calls", hueOfName);
    expect(found.map((one) => one.name)).toEqual(["m0", "m1", "m2", "m3", "m4", "m5", "m6", "5 others"]);
    expect(found.at(-1)).toMatchObject({ hue: undefined, total: 1 + 2 + 3 + 4 + 5 });
    expect(series(many(8), "calls", hueOfName).map((one) => one.name)).toHaveLength(8);
  });

  it("leave out groups without any", () => {
    expect(
      series(groups([hoursRow(), hoursRow({ served_name: "idle", calls: 0 })], "model"), "calls", hueOfName),
    ).toHaveLength(1);
    expect(series(many(3), "gpu", hueOfName)).toEqual([]);
  });

  it("keep colours apart, and to themselves", () => {
    const hues = series(many(8), "calls", () => 200).map((one) => one.hue ?? NaN);
    expect(new Set(hues).size).toBe(8);
    expect(series(many(8).toReversed(), "calls", () => 200).map((one) => one.hue)).toEqual(hues);
    expect(series(many(1), "calls", () => hue(3))[0]?.hue).toBe(hue(3));
  });

  it("of nobody are grey", () => {
    expect(series(groups([hoursRow({ team: null })], "team"), "calls", hueOfName)[0]?.hue).toBeUndefined();
  });
});

describe("bars", () => {
  it("stand for every hour, zero where nothing was", () => {
    const rows = [
      hoursRow({ hour: "2030-03-31T01:00:00Z", calls: 2 }),
      hoursRow({ hour: "2030-03-31T01:00:00Z", served_name: "code", calls: 3 }),
    ];
    const found = bars(rows, spring, "model", series(groups(rows, "model"), "calls", hueOfName), "calls");
    expect(found.map((bar) => bar.total)).toEqual([0, 0, 0, 5, 0, 0]);
    expect(found[3]?.values).toEqual([3, 2]);
    expect(found.map((bar) => new Date(bar.at).toISOString().slice(11, 13))).toEqual([
      "22",
      "23",
      "00",
      "01",
      "02",
      "03",
    ]);
  });

  it("put small groups with the others, and ignore rows outside", () => {
    const shown = series(many(12), "calls", hueOfName);
    const rows = [
      hoursRow({ day: "2030-01-02", served_name: "m11" }),
      hoursRow({ day: "2030-01-09", served_name: "m0" }),
    ];
    const [bar, ...more] = bars(
      rows,
      { since: at("2030-01-01T00:00"), until: at("2030-01-08T00:00"), step: 7 * DAY },
      "model",
      shown,
      "calls",
    );
    expect([bar?.total, bar?.values.at(-1), more]).toEqual([1, 1, []]);
  });

  it("have names", () => {
    expect(barName(at("2030-03-31T23:00"), spring)).toBe("31 Mar, 23:00 – 00:00");
    expect(barName(at("2030-03-31T00:00"), { ...spring, step: DAY })).toBe("31 Mar");
    const week = { since: at("2030-03-25T00:00"), until: at("2030-04-03T00:00"), step: 7 * DAY };
    expect(barName(week.since, week)).toBe("25 Mar – 31 Mar");
    expect(barName(at("2030-04-01T00:00"), week)).toBe("1 Apr – 2 Apr");
    expect([barLabel(at("2030-03-31T00:00"), spring), barLabel(at("2030-03-31T05:00"), spring)]).toEqual([
      "31 Mar",
      "05:00",
    ]);
  });

  it("get as many labels as fit", () => {
    const shown = (count: number, within: Bounds, width: number) =>
      Array.from({ length: count }, (_, index) => index).filter(labelled(count, within, width, 50));
    expect(shown(6, spring, 1000)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(shown(6, spring, 120)).toEqual([2, 5]); // 00:00 and 03:00
    expect(shown(30, { ...spring, step: DAY }, 500)).toEqual([2, 5, 8, 11, 14, 17, 20, 23, 26, 29]);
  });
});

describe("lines", () => {
  it.each([
    [0, "calls", [0, 1]],
    [3, "calls", [0, 1, 2, 3]],
    [95, "calls", [0, 50, 100]],
    [1_234_567, "tokens", [0, 500_000, 1_000_000, 1_500_000]],
    [100, "gpu", [0, 30, 60, 90, 120]],
    [400_000, "gpu", [0, 172_800, 345_600, 518_400]],
  ] as const)("for %s %s are %j", (most, measure, lines) => expect(ticks(most, measure)).toEqual(lines));
});
