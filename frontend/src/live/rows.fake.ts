/** Rows and frames for tests: whatever is not said has a sensible value. */
import type { DeploymentRow, EngineFrame, Frame, GPURow, Ledger, NodeRow, ReplicaRow, Snapshot } from "../api/types";

export const GIB = 1024 ** 3;

export function gpu(given: Partial<GPURow> = {}): GPURow {
  return {
    id: 1,
    seq: 1,
    uuid: "GPU-sim-n-0",
    node: 1,
    index: 0,
    name: "Simulated 80 GiB",
    memory_bytes: 80 * GIB,
    headroom_bytes: GIB,
    reserved_bytes: 0,
    compute_capability: "9.0",
    parent_uuid: "",
    simulated: true,
    enabled: true,
    cordon: null,
    present: true,
    ...given,
  };
}

export function node(given: Partial<NodeRow> = {}): NodeRow {
  return {
    id: 1,
    seq: 1,
    name: "n",
    address: "127.0.0.1",
    simulated: true,
    driver_version: "580.126.09",
    memory_bytes: 256 * GIB,
    sleep_budget_bytes: 128 * GIB,
    seen_at: "2026-01-01T00:00:00+00:00",
    ...given,
  };
}

export function deployment(given: Partial<DeploymentRow> = {}): DeploymentRow {
  return {
    id: 1,
    seq: 1,
    name: "chat",
    served_name: "chat",
    model: 1,
    model_name: "llama",
    runtime: 1,
    runtime_name: "simulator",
    runtime_kind: "simulator",
    extra_args: [],
    environment: {},
    max_model_len: null,
    tensor_parallel: 1,
    sleep_enabled: true,
    idle_sleep_seconds: null,
    idle_level_2_seconds: null,
    idle_stop_seconds: null,
    min_resident_seconds: null,
    labels: {},
    in_force: {},
    changes_at: null,
    replicas: 1,
    placed: 1,
    priority: 0,
    pinned: false,
    max_concurrency: null,
    queue_limit: 1000,
    queue_seconds: null,
    prefix_affinity: false,
    ignore_known_problems: false,
    known_problems: [],
    capture_until: null,
    weights_bytes: null,
    overhead_bytes: null,
    kv_floor_bytes: null,
    kv_cap_bytes: null,
    kv_weight: 1,
    deleting: false,
    goal: "ready",
    reason: "",
    message: "",
    waiting: null,
    created_at: "2026-01-01T00:00:00+00:00",
    ...given,
  };
}

export function replica(given: Partial<ReplicaRow> = {}): ReplicaRow {
  const id = given.id ?? 1;
  const generation = given.generation ?? 1;
  return {
    id,
    seq: 1,
    deployment: 1,
    deployment_name: "chat",
    served_name: "chat",
    gpu: 1,
    gpu_uuids: ["GPU-sim-n-0"],
    state: "ready",
    goal: "ready",
    sleep_level: 1,
    generation,
    marker: `${id}:${generation}`,
    reason: "",
    message: "",
    phase: "",
    progress_ratio: null,
    replaces: null,
    port: 18100,
    ipc_name: `srdz_${id}`,
    restarts: 0,
    restart_at: null,
    deadline_at: null,
    created_at: "2026-01-01T00:00:00+00:00",
    state_at: "2026-01-01T00:00:00+00:00",
    ready_at: null,
    weights_bytes: 16 * GIB,
    overhead_bytes: GIB,
    kv_floor_bytes: GIB,
    kv_cap_bytes: 32 * GIB,
    profile: {},
    sleep_enabled: true,
    reservations: [{ gpu: 1, held_bytes: 18 * GIB, awake_bytes: 18 * GIB, asleep_bytes: GIB }],
    verbs: { start: null, stop: null, restart: null, sleep: null, wake: null, move: null, cancel: null },
    restarting: false,
    outdated: [],
    disposable: false,
    ...given,
  };
}

export function engine(given: Partial<EngineFrame> = {}): EngineFrame {
  return {
    marker: "1:1",
    replica_id: 1,
    generation: 1,
    pid: 100,
    memory_bytes: { "GPU-sim-n-0": 20 * GIB },
    running: 0,
    waiting: 0,
    kv_usage_ratio: null,
    prompt_tokens: null,
    generation_tokens: null,
    tokens_per_second: null,
    sleeping: false,
    kv_limit_bytes: null,
    kv_limit_why: null,
    ...given,
  };
}

export function frame(given: Partial<Frame> = {}): Frame {
  return {
    seq: 1000,
    at: "2026-01-01T00:00:00+00:00",
    node: "n",
    simulated: true,
    host: { memory_total_bytes: 256 * GIB, memory_available_bytes: 200 * GIB },
    gpus: [
      {
        uuid: "GPU-sim-n-0",
        index: 0,
        name: "Simulated 80 GiB",
        parent_uuid: "",
        memory_total_bytes: 80 * GIB,
        memory_used_bytes: 20 * GIB,
        utilization_ratio: 0.5,
        temperature_celsius: null,
        power_watts: null,
        power_limit_watts: null,
        processes: [],
      },
    ],
    segments: [],
    ledgers: {},
    host_ram: null,
    engines: [],
    orphans: [],
    ...given,
  };
}

/** Of an engine that holds nothing, for one to say what it does hold. */
export function holding(given: Partial<Ledger["holdings"][number]> = {}): Ledger["holdings"][number] {
  return {
    marker: "1:1",
    replica_id: 1,
    measured: true,
    weights_bytes: 0,
    overhead_bytes: 0,
    kv_mapped_bytes: 0,
    kv_kept_bytes: 0,
    asleep_bytes: 0,
    ...given,
  };
}

export function ledger(given: Partial<Ledger> = {}): Ledger {
  return {
    total_bytes: 80 * GIB,
    free_bytes: 60 * GIB,
    weights_bytes: 0,
    overhead_bytes: 0,
    kv_mapped_bytes: 0,
    kv_kept_bytes: 0,
    asleep_bytes: 0,
    orphan_bytes: 0,
    foreign_bytes: 0,
    unexplained_bytes: 0,
    holdings: [],
    orphans: [],
    foreign: [],
    ...given,
  };
}

export function snapshot(given: Partial<Snapshot> = {}): Snapshot & { type: "snapshot" } {
  return {
    type: "snapshot",
    nodes: [node()],
    gpus: [gpu()],
    deployments: [deployment()],
    replicas: [replica()],
    ...given,
  };
}
