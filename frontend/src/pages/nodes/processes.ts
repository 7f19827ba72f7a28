/** The processes on a GPU: ours by replica, engines that nobody owns, and others. Pure. */
import type { Frame, GPURow, ReplicaRow } from "../../api/types";

export interface Process {
  readonly pid: number;
  /** Its name; empty where the system hides it. */
  readonly name: string;
  readonly whose: "replica" | "orphan" | "foreign";
  readonly replica: ReplicaRow | undefined;
  /** null where the driver does not tell. */
  readonly bytes: number | null;
}

/** The largest first; undefined where no reading tells of processes. */
export function processesOn(
  gpu: GPURow,
  frame: Frame | undefined,
  replicas: ReadonlyMap<number, ReplicaRow>,
): Process[] | undefined {
  const reading = frame?.gpus.find(({ uuid }) => uuid === gpu.uuid);
  const ledger = frame?.ledgers[gpu.uuid];
  if (frame === undefined || reading === undefined || ledger === undefined) return undefined;
  const orphans = new Map(ledger.orphans.map((one) => [one.pid, one]));
  const foreign = new Map(ledger.foreign.map((one) => [one.pid, one]));
  const owners = new Map(frame.engines.map((engine) => [engine.marker, engine.replica_id]));
  const found = reading.processes.map(({ pid, marker, memory_bytes }): Process => {
    const unowned = orphans.get(pid) ?? foreign.get(pid);
    const owner = marker === null || orphans.has(pid) ? undefined : owners.get(marker);
    const replica = owner === undefined ? undefined : replicas.get(owner);
    const whose = orphans.has(pid) ? "orphan" : marker === null ? "foreign" : "replica";
    return { pid, name: unowned?.name ?? "", whose, replica, bytes: memory_bytes };
  });
  return found.sort((a, b) => (b.bytes ?? -1) - (a.bytes ?? -1) || a.pid - b.pid);
}

/** Whose a process is, in words. */
export function ownerWords({ whose, replica, name }: Process): string {
  if (whose === "replica") return replica ? `${replica.deployment_name}/${replica.id}` : "an engine of ours";
  if (whose === "orphan") return "an engine without a replica";
  return `not of Sardeenz${name ? "" : ", name hidden"}`;
}
