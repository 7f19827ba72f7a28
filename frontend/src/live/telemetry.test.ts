import { describe, expect, it } from "vitest";
import { NO_TELEMETRY, applyTelemetry, engineOf, tokensPerSecond } from "./telemetry";
import { engine, frame } from "./rows.fake";

const at = (seconds: number, tokens: number | null, node = "n") =>
  ({
    type: "frame",
    frame: frame({ seq: seconds * 1000, node, engines: [engine({ generation_tokens: tokens })] }),
  }) as const;
const after = (...messages: ReturnType<typeof at>[]) => messages.reduce(applyTelemetry, NO_TELEMETRY);

describe("telemetry", () => {
  it("keeps the newest frame of each node", () => {
    const told = after(at(1, 0), at(2, 10), at(1, 0, "m"));
    expect([...told.frames.values()].map((one) => [one.node, one.seq])).toEqual([
      ["n", 2000],
      ["m", 1000],
    ]);
  });

  it("drops a frame that is not newer", () => {
    const told = after(at(2, 10));
    expect(applyTelemetry(told, at(2, 99))).toBe(told);
    expect(applyTelemetry(told, at(1, 99))).toBe(told);
  });

  it("begins with the frames of a snapshot", () => {
    const told = applyTelemetry(NO_TELEMETRY, { type: "snapshot", frames: [frame({ engines: [engine()] })] });
    expect(engineOf(told, "1:1")?.pid).toBe(100);
    expect(engineOf(told, "2:1")).toBeUndefined();
  });

  it("knows a rate once two frames told, and not before", () => {
    expect(tokensPerSecond(after(at(1, 100)), "1:1")).toBeUndefined();
    expect(tokensPerSecond(after(at(1, 100), at(3, 300)), "1:1")).toBe(100);
  });

  it("counts only the last seconds", () => {
    expect(tokensPerSecond(after(at(1, 0), at(10, 1000), at(11, 1000), at(12, 1000)), "1:1")).toBe(0);
  });

  it("begins anew when a counter falls", () => {
    expect(tokensPerSecond(after(at(1, 500), at(2, 10)), "1:1")).toBeUndefined();
    expect(tokensPerSecond(after(at(1, 500), at(2, 10), at(3, 60)), "1:1")).toBe(50);
  });

  it("waits for an engine that did not answer in time", () => {
    expect(tokensPerSecond(after(at(1, 0), at(2, null), at(3, 200)), "1:1")).toBe(100);
  });

  it("forgets engines that are gone", () => {
    const gone = applyTelemetry(after(at(1, 0), at(2, 10)), { type: "frame", frame: frame({ seq: 3000 }) });
    expect(tokensPerSecond(gone, "1:1")).toBeUndefined();
  });

  it("remembers a minute of utilisation", () => {
    const told = after(...Array.from({ length: 70 }, (_, second) => at(second + 1, 0)));
    expect(told.utilization.get("GPU-sim-n-0")).toHaveLength(60);
  });
});
