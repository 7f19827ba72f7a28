/** What a card shows of a GPU's memory: the server's ledger, put in the order of the rows. Pure; decides nothing about bytes. */
import type { Frame, GPURow, Ledger, ReplicaRow, Unowned } from "../api/types";
import { bytes } from "./format";
import { PARTS } from "./words";

/** Below this part of the GPU, what nobody accounts for is two readings of two instants. */
const SHOWN_RATIO = 0.01;

export type PartKind =
  "weights" | "overhead" | "used" | "kept" | "asleep" | "orphan" | "foreign" | "unexplained" | "unknown";

export interface Part {
  readonly key: string;
  readonly kind: PartKind;
  readonly bytes: number;
  /** Whose it is and how much, as a tooltip says it. */
  readonly words: string;
  /** undefined for bytes of processes that are no replica's. */
  readonly replica: ReplicaRow | undefined;
}

export interface GPUMemory {
  readonly totalBytes: number;
  /** undefined while no frame told. */
  readonly usedBytes: number | undefined;
  readonly freeBytes: number | undefined;
  readonly headroomBytes: number;
  readonly reservedBytes: number;
  /** What has a width in the bar, left to right. */
  readonly parts: readonly Part[];
  /** Orphans and foreign processes, and what nobody accounts for: a sentence each. */
  readonly notes: readonly string[];
}

export interface ReplicaMemory {
  readonly heldBytes: number | undefined;
  readonly kvUsedBytes: number | undefined;
  /** The limit in force. */
  readonly kvLimitBytes: number | undefined;
}

/** One replica on one GPU, as the last frame saw it. */
export function replicaMemory(replica: ReplicaRow, uuid: string, frame: Frame | undefined): ReplicaMemory {
  const engine = frame?.engines.find((each) => each.marker === replica.marker);
  const segment = replica.ipc_name ? frame?.segments.find((each) => each.ipc_name === replica.ipc_name) : undefined;
  return {
    heldBytes: engine?.memory_bytes[uuid] ?? undefined,
    kvUsedBytes: segment?.used_bytes,
    kvLimitBytes: segment?.limit_bytes,
  };
}

/** The whole GPU. Replicas come in the order given, so that their colours keep their places. */
export function gpuMemory(gpu: GPURow, replicas: readonly ReplicaRow[], frame: Frame | undefined): GPUMemory {
  const reading = frame?.gpus.find((each) => each.uuid === gpu.uuid);
  const ledger = frame?.ledgers[gpu.uuid];
  const about = {
    headroomBytes: gpu.headroom_bytes,
    reservedBytes: replicas.reduce((sum, replica) => sum + reservedOn(replica, gpu.id), 0),
  };
  if (reading === undefined)
    return {
      ...about,
      totalBytes: gpu.memory_bytes,
      usedBytes: undefined,
      freeBytes: undefined,
      parts: [],
      notes: [],
    };
  const { memory_total_bytes: totalBytes, memory_used_bytes: usedBytes } = reading;
  const read = { ...about, totalBytes, usedBytes };
  if (ledger === undefined)
    return {
      ...read,
      freeBytes: totalBytes - usedBytes,
      parts: nonEmpty([unowned("unknown", usedBytes)]),
      notes: ["The driver does not tell which process holds how much of this GPU."],
    };
  return { ...read, freeBytes: ledger.free_bytes, parts: partsOf(ledger, replicas), notes: notesOf(ledger) };
}

/** Bytes of this GPU that are promised to the replica. */
export function reservedOn(replica: ReplicaRow, gpu: number): number {
  return replica.reservations.find((held) => held.gpu === gpu)?.held_bytes ?? 0;
}

/** A replica belongs to every GPU it runs on or has bytes promised on. */
export function isOn(replica: ReplicaRow, gpu: GPURow): boolean {
  return replica.gpu === gpu.id || replica.gpu_uuids.includes(gpu.uuid) || reservedOn(replica, gpu.id) > 0;
}

function partsOf(ledger: Ledger, replicas: readonly ReplicaRow[]): Part[] {
  const place = new Map(replicas.map((replica, index) => [replica.id, index]));
  const at = (id: number) => place.get(id) ?? replicas.length;
  const holdings = [...ledger.holdings].sort((a, b) => at(a.replica_id) - at(b.replica_id));
  return nonEmpty([
    ...holdings.flatMap((holding) => partsOfOne(holding, replicas[at(holding.replica_id)])),
    unowned("orphan", ledger.orphan_bytes),
    unowned("foreign", ledger.foreign_bytes),
    unowned("unexplained", counts(ledger) ? ledger.unexplained_bytes : 0),
  ]);
}

function partsOfOne(holding: Ledger["holdings"][number], replica: ReplicaRow | undefined): Part[] {
  const whose = replica?.deployment_name ?? `replica ${holding.replica_id}`;
  const guessed = holding.measured ? "" : ", estimated: the driver does not tell";
  const part = (kind: PartKind, size: number): Part => ({
    key: `${holding.marker}:${kind}`,
    kind,
    bytes: size,
    words: `${whose}: ${PARTS[kind]}, ${bytes(size)}${guessed}`,
    replica,
  });
  return [
    part("weights", holding.weights_bytes),
    part("overhead", holding.overhead_bytes),
    part("used", holding.kv_mapped_bytes),
    part("kept", holding.kv_kept_bytes),
    part("asleep", holding.asleep_bytes),
  ];
}

function unowned(kind: PartKind, size: number): Part {
  return { key: kind, kind, bytes: size, words: `${PARTS[kind]}, ${bytes(size)}`, replica: undefined };
}

function notesOf(ledger: Ledger): string[] {
  const size = ledger.unexplained_bytes;
  return [
    ...ledger.orphans.map((process) => `Orphan, an engine that no replica owns: ${processWords(process)}`),
    ...ledger.foreign.map((process) => `Not of Sardeenz: ${processWords(process)}`),
    ...(counts(ledger)
      ? [
          size > 0
            ? `Unexplained: processes hold ${bytes(size)} less than the device says`
            : `Unexplained: processes hold ${bytes(-size)} more than the device says`,
        ]
      : []),
  ];
}

function processWords(process: Unowned): string {
  const size = process.memory_bytes === null ? "memory unknown" : bytes(process.memory_bytes);
  return `${process.name || "a process whose name is hidden"} (pid ${process.pid}), ${size}`;
}

function counts(ledger: Ledger): boolean {
  return Math.abs(ledger.unexplained_bytes) > SHOWN_RATIO * ledger.total_bytes;
}

/** What has a width. */
function nonEmpty(parts: Part[]): Part[] {
  return parts.filter((one) => one.bytes > 0);
}
