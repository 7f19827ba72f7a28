import { describe, expect, it } from "vitest";
import { NO_FLEET, applyLifecycle, type EventFrame } from "./lifecycle";
import { replica, snapshot } from "./rows.fake";

const event = (seq: number, row: EventFrame["row"], id = 1): EventFrame => ({
  type: "event",
  kind: "replica",
  id,
  seq,
  row,
});
const begun = applyLifecycle(NO_FLEET, snapshot({ replicas: [replica({ seq: 5 })] }));
const state = (fleet: typeof begun, id = 1) => fleet.replicas.get(id)?.state;

describe("the fleet", () => {
  it("is unknown before the snapshot and known after", () => {
    expect(NO_FLEET.known).toBe(false);
    expect(begun.known).toBe(true);
    expect([...begun.gpus.keys()]).toEqual([1]);
  });

  it("takes a newer row", () => {
    expect(state(applyLifecycle(begun, event(6, replica({ seq: 6, state: "draining" }))))).toBe("draining");
  });

  it("drops an older row", () => {
    expect(applyLifecycle(begun, event(4, replica({ seq: 4, state: "waking" })))).toBe(begun);
  });

  it("takes a row of the same seq, for the progress of a load is one", () => {
    const noted = applyLifecycle(begun, event(5, replica({ seq: 5, phase: "loading weights" })));
    expect(noted.replicas.get(1)?.phase).toBe("loading weights");
  });

  it("adds a row it has not seen", () => {
    expect(state(applyLifecycle(begun, event(1, replica({ id: 2 }), 2)), 2)).toBe("ready");
  });

  it("removes a row, and a late event does not bring it back", () => {
    const gone = applyLifecycle(begun, event(7, null));
    expect(gone.replicas.size).toBe(0);
    expect(applyLifecycle(gone, event(6, replica({ seq: 6 })))).toBe(gone);
    expect(applyLifecycle(gone, event(7, replica({ seq: 7 })))).toBe(gone);
  });

  it("is replaced whole by a snapshot, even by one of lower seq", () => {
    const restored = applyLifecycle(begun, snapshot({ replicas: [replica({ id: 9, seq: 1 })] }));
    expect([...restored.replicas.keys()]).toEqual([9]);
  });

  it("ignores kinds it has not heard of", () => {
    expect(applyLifecycle(begun, { ...event(9, null), kind: "window" as "replica" })).toBe(begun);
  });

  it("is told which services are silent, and that they speak again", () => {
    const service = {
      node: "n",
      name: "node",
      pid: 1,
      seen_at: "2026-01-01T00:00:00+00:00",
      silent: true,
      words: "It is silent.",
    };
    const other = { ...service, name: "beat", silent: false, words: "" };
    const quiet = applyLifecycle(begun, { type: "services", services: [service, other] });
    expect(quiet.silent).toEqual([service]);
    expect(applyLifecycle(quiet, event(9, null)).silent).toEqual([service]);
    expect(applyLifecycle(quiet, { type: "services", services: [other] }).silent).toEqual([]);
  });

  it("is told who waits for which deployment, and that nobody does any more", () => {
    const waiting = {
      count: 2,
      since: "2026-01-01T00:00:00+00:00",
      expected_at: null,
      reason: "wake" as const,
      message: "it wakes",
    };
    const waits = applyLifecycle(begun, { type: "event", kind: "waiting", waiting: { "1": waiting } });
    expect(waits.deployments.get(1)?.waiting).toEqual(waiting);
    const none = applyLifecycle(waits, { type: "event", kind: "waiting", waiting: {} });
    expect(none.deployments.get(1)?.waiting).toBeNull();
    expect(applyLifecycle(none, { type: "event", kind: "waiting", waiting: {} })).toBe(none);
  });

  it("leaves the old fleet as it was", () => {
    applyLifecycle(begun, event(6, null));
    expect(state(begun)).toBe("ready");
  });
});
