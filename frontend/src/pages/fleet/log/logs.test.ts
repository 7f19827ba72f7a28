import { describe, expect, it } from "vitest";
import { KEPT_LINES, NO_LOG, applyLog, matching, severity } from "./logs";

const tail = applyLog(NO_LOG, { type: "tail", generation: 2, lines: ["a", "b"] });

describe("a log", () => {
  it("grows by lines and numbers them", () => {
    const grown = applyLog(tail, { type: "lines", lines: ["c"] });
    expect(grown.lines.map((line) => `${line.number}${line.text}`)).toEqual(["1a", "2b", "3c"]);
  });

  it("begins anew with a tail", () => {
    const anew = applyLog(tail, { type: "tail", generation: 3, lines: ["x"] });
    expect([anew.generation, anew.lines]).toEqual([3, [{ number: 1, text: "x" }]]);
  });

  it("stays bounded and goes on counting", () => {
    const long = applyLog(tail, { type: "lines", lines: Array.from({ length: KEPT_LINES }, String) });
    expect(long.lines).toHaveLength(KEPT_LINES);
    expect(long.next).toBe(KEPT_LINES + 3);
  });

  it("ends with what it has", () => {
    expect(applyLog(tail, { type: "end" })).toEqual({ ...tail, ended: true });
  });

  it("is searched whatever the case", () => {
    expect(matching(tail.lines, " B ").map((line) => line.text)).toEqual(["b"]);
    expect(matching(tail.lines, " ")).toBe(tail.lines);
    const mixed = applyLog(NO_LOG, {
      type: "tail",
      generation: 1,
      lines: ["INFO a", "WARNING a", "ERROR a", "ERROR b"],
    });
    expect(matching(mixed.lines, "a", "warning").map((line) => line.number)).toEqual([2, 3]);
    expect(matching(mixed.lines, "", "error").map((line) => line.number)).toEqual([3, 4]);
  });

  it("tells errors from warnings", () => {
    expect(severity("(EngineCore pid=1) ERROR 01-01 oh")).toBe("error");
    expect(severity("ValueError: no")).toBe("error");
    expect(severity("WARNING 01-01 hm")).toBe("warning");
    expect(severity("INFO no errors here")).toBe("plain");
  });
});
