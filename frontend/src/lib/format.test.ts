import { describe, expect, it } from "vitest";
import { hue } from "./hue";
import * as format from "./format";

describe("numbers as text", () => {
  it.each([
    [0, "0 B"],
    [1023, "1023 B"],
    [1024, "1 KiB"],
    [1.5 * 1024 ** 3, "1.5 GiB"],
    [80 * 1024 ** 3, "80 GiB"],
    [1023.9 * 1024 ** 3, "1 TiB"],
    [null, "–"],
    [undefined, "–"],
  ])("bytes %s are %s", (value, text) => expect(format.bytes(value)).toBe(text));

  it("a share is in the unit of the whole", () => {
    expect(format.share(512 * 1024 ** 2, 80 * 1024 ** 3)).toBe("0.5 of 80 GiB");
    expect(format.share(undefined, 80 * 1024 ** 3)).toBe("– of 80 GiB");
  });

  it.each([
    [0, "0 s"],
    [59.6, "1 min"],
    [75, "1 min 15 s"],
    [3600, "1 h"],
    [90_000, "1 d 1 h"],
    [null, "–"],
  ])("%s seconds are %s", (value, text) => expect(format.duration(value)).toBe(text));

  it("unknown is never zero", () => {
    expect([format.percent(null), format.rate(undefined), format.celsius(null), format.watts(null, 300)]).toEqual(
      Array(4).fill("–"),
    );
    expect([format.percent(0), format.rate(0), format.celsius(0), format.watts(0, 300)]).toEqual([
      "0 %",
      "0",
      "0 °C",
      "0 of 300 W",
    ]);
  });

  it.each([
    [59, "59 s"],
    [119, "1 min"],
    [7199, "1 h"],
    [90_000, "1 d"],
  ])("%s seconds ago are %s", (seconds, text) =>
    expect(format.since(new Date(0).toISOString(), seconds * 1000)).toBe(text),
  );

  it.each([
    [0, "0"],
    [9_999, "9,999"],
    [12_345, "12.3k"],
    [200_000, "200k"],
    [999_600, "1M"],
    [1_500_000, "1.5M"],
    [7.2e9, "7.2G"],
    [null, "–"],
  ])("%s in short is %s", (value, text) => expect(format.compact(value)).toBe(text));

  it.each([
    [0, "0 ms"],
    [0.0123, "12 ms"],
    [0.9999, "1 s"],
    [1.26, "1.3 s"],
    [42.4, "42 s"],
    [75, "1 min 15 s"],
  ])("a span of %s s is %s", (value, text) => expect(format.span(value)).toBe(text));

  it.each([
    [0, "0 %"],
    [0.0004, "<0.1 %"],
    [0.0042, "0.4 %"],
    [0.0999, "10 %"],
    [1, "100 %"],
    [null, "–"],
  ])("a small ratio of %s is %s", (value, text) => expect(format.finePercent(value)).toBe(text));

  it("an expiry is so far away, or over", () => {
    const now = Date.parse("2030-01-01T00:00:00Z");
    expect(format.until("2030-01-04T00:00:00Z", now)).toBe("in 3 d");
    expect(format.until("2030-01-01T00:00:00Z", now)).toBe("over");
  });

  it("days and hours are UTC", () => {
    const at = Date.parse("2030-01-31T23:00:00Z");
    expect([format.day(at), format.day(at, true), format.hourOf(at)]).toEqual(["31 Jan", "31 Jan, 23:00", "23:00"]);
    expect(format.utc("2030-01-31T23:05:09+01:00")).toBe("31 Jan, 22:05:09 UTC");
  });

  it("an instant in the future is now", () => {
    expect(format.since("2026-01-01T00:00:10Z", Date.parse("2026-01-01T00:00:00Z"))).toBe("0 s");
  });
});

describe("text as numbers", () => {
  it.each([
    ["16 GiB", 16 * 1024 ** 3],
    ["512m", 512 * 1024 ** 2],
    ["1.5TB", 1.5 * 1024 ** 4],
    ["1048576", 1048576],
    ["16", undefined],
    ["0", 0],
    ["lots", undefined],
    ["-1", undefined],
  ])("%s is %s", (text, value) => expect(format.parseBytes(text)).toBe(value));

  it.each([
    ["600", 600],
    ["1,000", 1000],
    ["200k", 200_000],
    ["1.1 M", 1_100_000],
    ["1.5", undefined],
    ["1,5", undefined],
    ["many", undefined],
  ])("%s counts %s", (text, value) => expect(format.parseCount(text)).toBe(value));

  it.each([
    ["90", 90],
    ["1.5 s", 1.5],
    ["15 min", 900],
    ["2h", 7200],
    ["1 d", 86_400],
    ["soon", undefined],
  ])("%s lasts %s", (text, value) => expect(format.parseSeconds(text)).toBe(value));

  it("words keep together what quotes hold, and comments are left out", () => {
    expect(format.splitWords("--a 1 # why\n--b='x y' \"\" --c")).toEqual(["--a", "1", "--b=x y", "", "--c"]);
  });
});

it("neighbouring deployments have hues far apart", () => {
  for (let id = 1; id < 200; id += 1) {
    const apart = Math.abs(hue(id) - hue(id + 1));
    expect(Math.min(apart, 360 - apart)).toBeGreaterThan(100);
  }
});

it.each([
  ["9h", 32_400],
  ["1 h 30 min", 5400],
  ["1h30m", 5400],
  ["2 d", 172_800],
  ["90", undefined],
  ["9 ells", undefined],
  ["1 h and more", undefined],
  ["", undefined],
])("the length %j is %s seconds", (text, seconds) => expect(format.parseDuration(text)).toBe(seconds));

it("an instant is told by the clock of a zone", () => {
  expect(format.clock("2026-10-25T01:30:00Z", "Europe/Berlin")).toBe("Sun 25 Oct, 02:30");
  expect(format.clock("2026-10-25T01:30:00Z", "America/New_York")).toBe("Sat 24 Oct, 21:30");
});

it.each([
  [0, "0 ms"],
  [0.0012, "1.20 ms"],
  [0.0123, "12.3 ms"],
  [0.75, "750 ms"],
  [1.256, "1.26 s"],
  [42, "42.0 s"],
  [125, "2 min 5 s"],
  [null, "–"],
])("%s s were measured as %s", (seconds, text) => expect(format.latency(seconds)).toBe(text));

it.each([
  [1.25, "+25 %"],
  [0.987, "-1.3 %"],
  [1, "+0.0 %"],
  [13.5, "+1,250 %"],
])("%s times as much is %s", (ratio, text) => expect(format.change(ratio)).toBe(text));
