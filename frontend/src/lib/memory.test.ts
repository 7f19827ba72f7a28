import { describe, expect, it } from "vitest";
import { GIB, engine, frame, gpu, replica } from "../live/rows.fake";
import { gpuMemory, isOn, replicaMemory } from "./memory";

const UUID = "GPU-sim-n-0";
const segment = { ipc_name: "srdz_1", limit_bytes: 32 * GIB, used_bytes: 2 * GIB, prealloc_bytes: GIB };
const sizes = (memory: ReturnType<typeof gpuMemory>) => memory.parts.map((part) => [part.kind, part.bytes / GIB]);

describe("the memory of a GPU", () => {
  it("is told apart into weights, KV in use, KV kept and what is not ours", () => {
    const seen = frame({ engines: [engine({ memory_bytes: { [UUID]: 19 * GIB } })], segments: [segment] });
    const memory = gpuMemory(gpu(), [replica()], seen);
    expect(sizes(memory)).toEqual([
      ["static", 16],
      ["used", 2],
      ["prealloc", 1],
      ["foreign", 1],
    ]);
    expect([memory.usedBytes, memory.freeBytes, memory.reservedBytes]).toEqual([20 * GIB, 60 * GIB, 18 * GIB]);
  });

  it("adds up to what the device says", () => {
    const seen = frame({ engines: [engine()], segments: [segment] });
    const memory = gpuMemory(gpu(), [replica()], seen);
    expect(memory.parts.reduce((sum, part) => sum + part.bytes, 0)).toBe(memory.usedBytes);
  });

  it("shows a sleeper as one part", () => {
    const seen = frame({ engines: [engine({ memory_bytes: { [UUID]: GIB } })] });
    expect(sizes(gpuMemory(gpu(), [replica({ state: "sleeping" })], seen))[0]).toEqual(["asleep", 1]);
  });

  it("leaves out what nobody told instead of calling it zero", () => {
    const seen = frame({ engines: [engine({ memory_bytes: { [UUID]: null } })], segments: [segment] });
    expect(replicaMemory(replica(), UUID, seen).heldBytes).toBeUndefined();
    expect(sizes(gpuMemory(gpu(), [replica()], seen))).toEqual([["foreign", 20]]);
    const unseen = gpuMemory(gpu(), [replica()], undefined);
    expect([unseen.usedBytes, unseen.freeBytes, unseen.parts]).toEqual([undefined, undefined, []]);
  });

  it("never makes a part negative when readings of one second disagree", () => {
    const seen = frame({
      engines: [engine({ memory_bytes: { [UUID]: GIB } })],
      segments: [{ ...segment, used_bytes: 5 * GIB, prealloc_bytes: GIB }],
    });
    expect(sizes(gpuMemory(gpu(), [replica()], seen))[0]).toEqual(["used", 1]);
  });

  it("does not take an engine of an earlier start for this one", () => {
    expect(replicaMemory(replica({ generation: 2 }), UUID, frame({ engines: [engine()] })).heldBytes).toBeUndefined();
  });
});

describe("a replica on a GPU", () => {
  it("counts on every GPU it has to do with", () => {
    expect(isOn(replica(), gpu())).toBe(true);
    expect(isOn(replica(), gpu({ id: 2, uuid: "other" }))).toBe(false);
    expect(isOn(replica({ gpu_uuids: ["other"] }), gpu({ id: 2, uuid: "other" }))).toBe(true);
  });
});
