/** What /ws/lifecycle tells, folded into rows. Pure: the same frames give the same fleet. */
import type { DeploymentRow, GPURow, NodeRow, ReplicaRow, ServiceRow, Snapshot } from "../api/types";

export interface Fleet {
  readonly known: boolean;
  readonly nodes: ReadonlyMap<number, NodeRow>;
  readonly gpus: ReadonlyMap<number, GPURow>;
  readonly deployments: ReadonlyMap<number, DeploymentRow>;
  readonly replicas: ReadonlyMap<number, ReplicaRow>;
  /** Services that should have spoken since. */
  readonly silent: readonly ServiceRow[];
  /** The `seq` at which rows were removed, so that a late event does not bring them back. */
  readonly removed: ReadonlyMap<string, number>;
}

export interface SnapshotFrame extends Snapshot {
  type: "snapshot";
}

export interface EventFrame {
  type: "event";
  kind: "node" | "gpu" | "deployment" | "replica";
  id: number;
  seq: number;
  row: NodeRow | GPURow | DeploymentRow | ReplicaRow | null;
}

/** Calls that wait, by deployment id: all of them, so that who is not named has none. */
export interface WaitingFrame {
  type: "event";
  kind: "waiting";
  waiting: Readonly<Record<string, NonNullable<DeploymentRow["waiting"]>>>;
}

/** Who is heard, sent when a service falls silent or speaks again. */
export interface ServicesFrame {
  type: "services";
  services: readonly ServiceRow[];
}

export type LifecycleFrame = SnapshotFrame | EventFrame | WaitingFrame | ServicesFrame;

type Table = "nodes" | "gpus" | "deployments" | "replicas";
const TABLES = { node: "nodes", gpu: "gpus", deployment: "deployments", replica: "replicas" } as const;

export const NO_FLEET: Fleet = {
  known: false,
  nodes: new Map(),
  gpus: new Map(),
  deployments: new Map(),
  replicas: new Map(),
  silent: [],
  removed: new Map(),
};

/** The fleet after one more frame. A snapshot replaces all; an event that is older than what is known changes nothing. */
export function applyLifecycle(fleet: Fleet, frame: LifecycleFrame): Fleet {
  if (frame.type === "snapshot") return fromSnapshot(frame);
  if (frame.type === "services") return { ...fleet, silent: frame.services.filter((service) => service.silent) };
  if (frame.kind === "waiting") return withWaiting(fleet, frame.waiting);
  const table: Table | undefined = TABLES[frame.kind];
  if (table === undefined) return fleet; // of a newer server
  const name = `${frame.kind}:${frame.id}`;
  const held = fleet[table].get(frame.id);
  const newest = held?.seq ?? fleet.removed.get(name) ?? -Infinity;
  // An equal seq is a note on the same state (progress of a load), and newer; a removed row stays removed.
  if (frame.seq < newest || (held === undefined && frame.seq <= newest)) return fleet;
  const rows = new Map<number, NodeRow | GPURow | DeploymentRow | ReplicaRow>(fleet[table]);
  const removed = new Map(fleet.removed);
  if (frame.row === null) {
    rows.delete(frame.id);
    removed.set(name, frame.seq);
  } else {
    rows.set(frame.id, frame.row);
    removed.delete(name);
  }
  return { ...fleet, removed, [table]: rows };
}

function withWaiting(fleet: Fleet, waiting: WaitingFrame["waiting"]): Fleet {
  const changed = [...fleet.deployments.values()].filter((row) => row.waiting !== null || waiting[row.id]);
  if (changed.length === 0) return fleet;
  const deployments = new Map(fleet.deployments);
  for (const row of changed) deployments.set(row.id, { ...row, waiting: waiting[row.id] ?? null });
  return { ...fleet, deployments };
}

function fromSnapshot(frame: SnapshotFrame): Fleet {
  return {
    known: true,
    nodes: byId(frame.nodes),
    gpus: byId(frame.gpus),
    deployments: byId(frame.deployments),
    replicas: byId(frame.replicas),
    silent: [],
    removed: new Map(),
  };
}

function byId<T extends { id: number }>(rows: readonly T[]): Map<number, T> {
  return new Map(rows.map((row) => [row.id, row]));
}
