/** Whose each byte of a GPU is, from the frame and the rows. Pure. What nobody told is absent, never zero. */
import type { Frame, GPUFrame, GPURow, ReplicaRow } from "../api/types";

export type PartKind = "static" | "used" | "prealloc" | "asleep" | "foreign";

export interface Part {
  readonly key: string;
  readonly kind: PartKind;
  readonly bytes: number;
  /** undefined for bytes of processes that are not ours. */
  readonly replica: ReplicaRow | undefined;
}

export interface GPUMemory {
  readonly totalBytes: number;
  /** undefined while no frame told. */
  readonly usedBytes: number | undefined;
  readonly freeBytes: number | undefined;
  readonly headroomBytes: number;
  readonly reservedBytes: number;
  readonly parts: readonly Part[];
}

export interface ReplicaMemory {
  readonly heldBytes: number | undefined;
  readonly kvUsedBytes: number | undefined;
  readonly kvPreallocBytes: number | undefined;
  readonly kvLimitBytes: number | undefined;
}

/** One replica on one GPU, as the last frame saw it. */
export function replicaMemory(replica: ReplicaRow, uuid: string, frame: Frame | undefined): ReplicaMemory {
  const engine = frame?.engines.find((found) => found.marker === replica.marker);
  const segment = replica.ipc_name ? frame?.segments.find((found) => found.ipc_name === replica.ipc_name) : undefined;
  return {
    heldBytes: engine?.memory_bytes[uuid] ?? undefined,
    kvUsedBytes: segment?.used_bytes,
    kvPreallocBytes: segment?.prealloc_bytes,
    kvLimitBytes: segment?.limit_bytes,
  };
}

/** The whole GPU. Replicas come in the order given, so that their colours keep their places. */
export function gpuMemory(gpu: GPURow, replicas: readonly ReplicaRow[], frame: Frame | undefined): GPUMemory {
  const reading: GPUFrame | undefined = frame?.gpus.find((found) => found.uuid === gpu.uuid);
  const own = replicas.flatMap((replica) => partsOf(replica, replicaMemory(replica, gpu.uuid, frame)));
  const attributed = own.reduce((sum, part) => sum + part.bytes, 0);
  const used = reading?.memory_used_bytes;
  const foreign = used === undefined ? 0 : used - attributed;
  const parts = foreign > 0 ? [...own, foreignPart(foreign)] : own;
  const total = reading?.memory_total_bytes ?? gpu.memory_bytes;
  return {
    totalBytes: total,
    usedBytes: used,
    freeBytes: used === undefined ? undefined : Math.max(0, total - used),
    headroomBytes: gpu.headroom_bytes,
    reservedBytes: replicas.reduce((sum, replica) => sum + reservedOn(replica, gpu.id), 0),
    parts,
  };
}

/** Bytes of this GPU that are promised to the replica. */
export function reservedOn(replica: ReplicaRow, gpu: number): number {
  return replica.reservations.find((held) => held.gpu === gpu)?.held_bytes ?? 0;
}

/** A replica belongs to every GPU it runs on or has bytes promised on. */
export function isOn(replica: ReplicaRow, gpu: GPURow): boolean {
  return replica.gpu === gpu.id || replica.gpu_uuids.includes(gpu.uuid) || reservedOn(replica, gpu.id) > 0;
}

function partsOf(replica: ReplicaRow, memory: ReplicaMemory): Part[] {
  const held = memory.heldBytes;
  if (held === undefined) return [];
  if (replica.state === "sleeping") return nonEmpty([part(replica, "asleep", held)]);
  const used = Math.min(memory.kvUsedBytes ?? 0, held);
  const prealloc = Math.min(memory.kvPreallocBytes ?? 0, held - used);
  return nonEmpty([
    part(replica, "static", held - used - prealloc),
    part(replica, "used", used),
    part(replica, "prealloc", prealloc),
  ]);
}

function part(replica: ReplicaRow, kind: PartKind, bytes: number): Part {
  return { key: `${replica.id}:${kind}`, kind, bytes, replica };
}

function foreignPart(bytes: number): Part {
  return { key: "foreign", kind: "foreign", bytes, replica: undefined };
}

function nonEmpty(parts: Part[]): Part[] {
  return parts.filter((one) => one.bytes > 0);
}
