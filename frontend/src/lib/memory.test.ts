import { describe, expect, it } from "vitest";
import type { Ledger } from "../api/types";
import { GIB, engine, frame, gpu, holding, ledger, replica } from "../live/rows.fake";
import { gpuMemory, isOn, replicaMemory } from "./memory";

const UUID = "GPU-sim-n-0";
const segment = { ipc_name: "srdz_1", limit_bytes: 32 * GIB, used_bytes: 2 * GIB, prealloc_bytes: GIB };
const sizes = (memory: ReturnType<typeof gpuMemory>) => memory.parts.map((part) => [part.kind, part.bytes / GIB]);
const seen = (given: Partial<Ledger>) => frame({ ledgers: { [UUID]: ledger(given) } });

describe("the memory of a GPU", () => {
  it("is drawn as the ledger says, each replica's parts in one run", () => {
    const holdings = [
      holding({ marker: "2:1", replica_id: 2, asleep_bytes: GIB }),
      holding({ weights_bytes: 15 * GIB, overhead_bytes: GIB, kv_mapped_bytes: 2 * GIB, kv_kept_bytes: GIB }),
    ];
    const memory = gpuMemory(
      gpu(),
      [replica(), replica({ id: 2, deployment: 2, deployment_name: "code" })],
      seen({ holdings, foreign_bytes: 3 * GIB, orphan_bytes: 2 * GIB, free_bytes: 55 * GIB }),
    );
    expect(sizes(memory)).toEqual([
      ["weights", 15],
      ["overhead", 1],
      ["used", 2],
      ["kept", 1],
      ["asleep", 1],
      ["orphan", 2],
      ["foreign", 3],
    ]);
    expect(memory.parts.map((part) => part.replica?.id)).toEqual([1, 1, 1, 1, 2, undefined, undefined]);
    expect(memory.parts[4]?.words).toBe("code: kept while asleep, 1 GiB");
  });

  it("takes what is free from the ledger and works nothing out", () => {
    const memory = gpuMemory(gpu(), [replica()], seen({ free_bytes: 7 * GIB }));
    expect([memory.usedBytes, memory.freeBytes, memory.reservedBytes]).toEqual([20 * GIB, 7 * GIB, 18 * GIB]);
  });

  it("names foreign processes and orphans by pid, name and size", () => {
    const memory = gpuMemory(
      gpu(),
      [],
      seen({
        orphans: [{ pid: 7, name: "vllm", memory_bytes: 2 * GIB }],
        foreign: [
          { pid: 8, name: "python3", memory_bytes: 12 * GIB },
          { pid: 9, name: "", memory_bytes: null },
        ],
      }),
    );
    expect(memory.notes).toEqual([
      "Orphan, an engine that no replica owns: vllm (pid 7), 2 GiB",
      "Not of Sardeenz: python3 (pid 8), 12 GiB",
      "Not of Sardeenz: a process whose name is hidden (pid 9), memory unknown",
    ]);
  });

  it("shows what nobody accounts for above a hundredth of the GPU, its sign in words", () => {
    const shown = (size: number) => gpuMemory(gpu(), [], seen({ unexplained_bytes: size }));
    expect([shown(0.8 * GIB).parts, shown(0.8 * GIB).notes, shown(-0.8 * GIB).notes]).toEqual([[], [], []]);
    expect(sizes(shown(2 * GIB))).toEqual([["unexplained", 2]]);
    expect(shown(2 * GIB).notes).toEqual(["Unexplained: processes hold 2 GiB less than the device says"]);
    expect(sizes(shown(-2 * GIB))).toEqual([]);
    expect(shown(-2 * GIB).notes).toEqual(["Unexplained: processes hold 2 GiB more than the device says"]);
  });

  it("says so where the driver tells no processes, and draws used and free", () => {
    const memory = gpuMemory(gpu(), [replica()], frame({ engines: [engine()], segments: [segment] }));
    expect(sizes(memory)).toEqual([["unknown", 20]]);
    expect(memory.freeBytes).toBe(60 * GIB);
    expect(memory.notes).toEqual(["The driver does not tell which process holds how much of this GPU."]);
  });

  it("leaves out what no frame told instead of calling it zero", () => {
    const unseen = gpuMemory(gpu(), [replica()], undefined);
    expect([unseen.usedBytes, unseen.freeBytes, unseen.parts, unseen.notes]).toEqual([undefined, undefined, [], []]);
  });

  it("tells what is measured from what the rows stand in for", () => {
    const holdings = [holding({ measured: false, weights_bytes: GIB })];
    const [part] = gpuMemory(gpu(), [replica()], seen({ holdings })).parts;
    expect(part?.words).toBe("chat: weights, 1 GiB, estimated: the driver does not tell");
  });

  it("draws an engine whose row has not come yet, by its number", () => {
    const holdings = [holding({ marker: "5:1", replica_id: 5, overhead_bytes: GIB }), holding({ weights_bytes: GIB })];
    const { parts } = gpuMemory(gpu(), [replica()], seen({ holdings }));
    expect(parts.map((part) => part.words)).toEqual(["chat: weights, 1 GiB", "replica 5: overhead, 1 GiB"]);
  });
});

describe("the memory of a replica", () => {
  it("is what its engine holds and what its segment says", () => {
    const memory = replicaMemory(replica(), UUID, frame({ engines: [engine()], segments: [segment] }));
    expect(memory).toEqual({ heldBytes: 20 * GIB, kvUsedBytes: 2 * GIB, kvLimitBytes: 32 * GIB });
  });

  it("is unknown where the device does not tell, or the engine is that of an earlier start", () => {
    const untold = frame({ engines: [engine({ memory_bytes: { [UUID]: null } })] });
    expect(replicaMemory(replica(), UUID, untold).heldBytes).toBeUndefined();
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
