import { describe, expect, it } from "vitest";
import type { History } from "../../api/types";
import { ofGpu } from "./history";

const GIB = 1024 ** 3;
const START = Date.parse("2026-11-02T12:00:00Z");

function history(seconds: number[], mean: Record<string, (number | null)[]>): History {
  return {
    subject: "gpu:A",
    step_seconds: 10,
    since: "2026-11-02T12:00:00Z",
    until: "2026-11-02T13:00:00Z",
    at: seconds.map((second) => new Date(START + second * 1000).toISOString()),
    mean,
    greatest: mean,
  };
}

describe("the charts of a GPU", () => {
  it("stacks the parts of its memory, and leaves out what was never there", () => {
    const [memory] = ofGpu(
      history([0, 10], {
        memory_used_bytes: [10 * GIB, 14 * GIB],
        weights_bytes: [8 * GIB, 8 * GIB],
        kv_mapped_bytes: [2 * GIB, 6 * GIB],
        orphan_bytes: [0, 0],
      }),
      80 * GIB,
    );
    expect(memory?.layers.map((layer) => layer.name)).toEqual(["weights", "KV cache in use"]);
    expect(memory?.layers.map((layer) => layer.values)).toEqual([
      [8 * GIB, 8 * GIB],
      [10 * GIB, 14 * GIB],
    ]);
    expect(memory?.top).toBe(80 * GIB);
    expect(memory?.words).toBe("Memory in use: 12 GiB on average, 14 GiB at most.");
  });

  it("shows what is in use where nobody tells whose it is", () => {
    const [memory] = ofGpu(history([0], { memory_used_bytes: [GIB], weights_bytes: [null] }), 80 * GIB);
    expect(memory?.layers).toEqual([{ name: "in use", colour: "--accent", values: [GIB] }]);
  });

  it("knows nothing of a layer above an unknown one", () => {
    const [memory] = ofGpu(history([0, 10], { weights_bytes: [GIB, null], kv_mapped_bytes: [GIB, GIB] }), 80 * GIB);
    expect(memory?.layers[1]?.values).toEqual([2 * GIB, null]);
  });

  it("breaks the line where nothing was read", () => {
    const [first] = ofGpu(history([0, 10, 60, 70], { utilization_ratio: [0.1, 0.2, 0.3, 0.4] }), 80 * GIB);
    expect(first?.title).toBe("Utilisation");
    expect(first?.at.map((at) => at - START / 1000)).toEqual([0, 10, 20, 60, 70]);
    expect(first?.layers[0]?.values).toEqual([0.1, 0.2, null, 0.3, 0.4]);
  });

  it("draws no chart of what no device told", () => {
    expect(
      ofGpu(history([0], { power_watts: [null], temperature_celsius: [40] }), GIB).map((one) => one.title),
    ).toEqual(["Temperature"]);
    expect(ofGpu(history([], {}), GIB)).toEqual([]);
  });
});
