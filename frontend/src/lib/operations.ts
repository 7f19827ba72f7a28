/** What is under way over the fleet: loads, moves, sleeps, wakes, ends and drains, by the rows. Pure. */
import type { GPURow, ReplicaRow } from "../api/types";

export interface Operation {
  readonly key: string;
  /** "Loads", "Moves", ... */
  readonly does: string;
  /** Who does it, by name. */
  readonly name: string;
  /** Where. */
  readonly where: string;
  /** How far it is, in words; empty where nobody tells. */
  readonly phase: string;
  readonly ratio: number | null;
  /** Since when; null where the rows do not tell. */
  readonly since: string | null;
  /** What a cancel is asked of: a replica, or a GPU whose drain ends. */
  readonly cancel: { readonly replica: ReplicaRow } | { readonly gpu: GPURow };
  /** Why it cannot be cancelled; undefined where it can. */
  readonly refused: string | undefined;
}

interface Known {
  readonly replicas: readonly ReplicaRow[];
  readonly gpus: readonly GPURow[];
  readonly nameOfGpu: (id: number) => string;
}

/** The oldest first; drains of GPUs before what they bring about. */
export function operations({ replicas, gpus, nameOfGpu }: Known): Operation[] {
  const sources = new Map(replicas.flatMap((one) => (one.replaces === null ? [] : [[one.replaces, one]])));
  const drains = gpus.flatMap((gpu) => (gpu.cordon?.drain ? [drain(gpu, replicas, nameOfGpu)] : []));
  const others = replicas.flatMap((one) => {
    // A move is told once, by its copy.
    const does = sources.has(one.id) ? undefined : whatItDoes(one, replicas);
    return does === undefined ? [] : [operation(one, does, nameOfGpu)];
  });
  return [...drains, ...others.sort((a, b) => (a.since ?? "").localeCompare(b.since ?? ""))];
}

/** In the present tense; undefined for one that is where it is headed. */
function whatItDoes(one: ReplicaRow, replicas: readonly ReplicaRow[]): string | undefined {
  const { state, goal } = one;
  if (one.replaces !== null && replicas.some(({ id }) => id === one.replaces)) return "Moves";
  if (state === "pending" || state === "starting") return "Loads";
  if (state === "waking") return "Wakes";
  if (state === "stopping") return "Stops";
  if (state === "draining") return goal === "stopped" ? "Stops" : "Goes to sleep";
  if (state === "sleeping" && goal === "ready") return "Waits to wake";
  if (state === "stopped" && goal === "ready") return "Waits to load";
  if (state === "ready" && goal === "stopped") return "Stops";
  return state === "ready" && goal === "sleeping" ? "Goes to sleep" : undefined;
}

function operation(one: ReplicaRow, does: string, nameOfGpu: (id: number) => string): Operation {
  return {
    key: `replica ${one.id}`,
    does,
    name: `${one.deployment_name}/${one.id}`,
    where: does === "Moves" ? `to ${nameOfGpu(one.gpu)}` : `on ${nameOfGpu(one.gpu)}`,
    phase: one.phase || one.message,
    ratio: one.progress_ratio,
    since: one.state_at,
    cancel: { replica: one },
    refused: one.verbs.cancel ?? undefined,
  };
}

function drain(gpu: GPURow, replicas: readonly ReplicaRow[], nameOfGpu: (id: number) => string): Operation {
  const there = replicas.filter(({ gpu_uuids, state }) => gpu_uuids.includes(gpu.uuid) && state !== "stopped").length;
  return {
    key: `gpu ${gpu.id}`,
    does: "Is emptied",
    name: nameOfGpu(gpu.id),
    where: `for ${gpu.cordon?.message ?? "maintenance"}`,
    phase: there === 1 ? "1 replica is there still" : `${there} replicas are there still`,
    ratio: null,
    since: gpu.cordon?.at ?? null,
    cancel: { gpu },
    refused: undefined,
  };
}
