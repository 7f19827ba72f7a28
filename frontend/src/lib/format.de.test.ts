import { expect, it, vi } from "vitest";

vi.mock("../language/language", () => ({ language: "de" }));
const format = await import("./format");

it("writes numbers, sizes, times and dates as Germans do", () => {
  expect(format.bytes(12.5 * 1024 ** 3)).toBe("12,5 GiB");
  expect(format.bytes(1000 * 1024 ** 2)).toBe("1000 MiB");
  expect(format.count(12_345)).toBe("12.345");
  expect(format.compact(12_345)).toBe("12,3k");
  expect(format.finePercent(0.0042)).toBe("0,4 %");
  expect(format.latency(1.256)).toBe("1,26 s");
  expect(format.tick(Date.UTC(2030, 0, 31, 12) / 1000, 30 * 86_400)).toBe("31. Jan.");
  expect(format.clock(Date.UTC(2026, 10, 24, 14, 15), "UTC")).toBe("Di 24. Nov., 14:15");
});

it("reads what it writes, and points as well", () => {
  expect(format.parseBytes("12,5 GiB")).toBe(12.5 * 1024 ** 3);
  expect(format.parseBytes("12.5 GiB")).toBe(12.5 * 1024 ** 3);
  expect(format.parseCount("1.000")).toBe(1000);
  expect(format.parseCount("1,5M")).toBe(1_500_000);
  expect(format.parseSeconds("1,5 h")).toBe(5400);
  expect(format.parseDuration("1,5 h 30 min")).toBe(7200);
  expect(format.parseNumber("0,7")).toBe(0.7);
  expect(format.parseNumber("")).toBeNaN();
});

it("keeps nouns and lowers the rest within a sentence", () => {
  expect(format.inside("Modell")).toBe("Modell");
  expect(format.lowered("Wartet auf das Modell")).toBe("wartet auf das Modell");
});
