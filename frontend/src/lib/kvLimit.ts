/** How much KV memory a replica may map on each of its GPUs, and why, in words. Pure. */
import type { EngineFrame, Frame, ReplicaRow } from "../api/types";
import { bytes } from "./format";

const NAMED = 2;
/** Of the first limit: by so little limits are not moved. */
const STEADY_RATIO = 0.02;

/** The limit in force where it is not the one asked for, and what holds it there; undefined where nobody decides it. */
export function kvLimitWords(
  replica: ReplicaRow,
  neighbours: readonly ReplicaRow[],
  frame: Frame | undefined,
): string | undefined {
  const engine = engineOf(replica, frame);
  if (engine?.kv_limit_bytes === null || engine?.kv_limit_bytes === undefined) return undefined;
  const others = neighbours.filter((one) => one.id !== replica.id && competes(one, frame));
  return [differing(engine.kv_limit_bytes, replica, frame), whyWords(engine.kv_limit_why, others)]
    .filter((part) => part !== undefined)
    .join("; ");
}

/** A lowered limit takes nothing from running requests. A small difference is left as it is, and is not worth words. */
function differing(asked: number, replica: ReplicaRow, frame: Frame | undefined): string | undefined {
  const segment = frame?.segments.find((each) => each.ipc_name === replica.ipc_name);
  if (segment === undefined) return undefined;
  const { limit_bytes: limit, used_bytes: used } = segment;
  const matters = (size: number) =>
    Math.abs(size - asked) > STEADY_RATIO * Number(replica.profile["kv_limit_bytes"] ?? limit);
  const until = used > asked ? " until requests end" : "";
  if (matters(limit)) return `${bytes(asked)} asked for, ${bytes(limit)} in force${until}`;
  if (used > asked && matters(used)) return `${bytes(asked)} asked for, ${bytes(used)} in use${until}`;
  return undefined;
}

function whyWords(why: string | null, others: readonly ReplicaRow[]): string | undefined {
  if (why === "free") return "may use all it can address";
  if (why === "share") return `shares KV memory with ${names(others)}`;
  if (why === "claim") return "leaves KV memory to one that loads or wakes";
  if (why === "floor") return "held to its KV floor";
  return undefined;
}

function names(others: readonly ReplicaRow[]): string {
  const all = [...new Set(others.map((one) => one.deployment_name))];
  if (all.length === 0) return "its neighbours";
  return all.length > NAMED ? `${all.length} others` : all.join(" and ");
}

function competes(replica: ReplicaRow, frame: Frame | undefined): boolean {
  return engineOf(replica, frame)?.kv_limit_why === "share";
}

function engineOf(replica: ReplicaRow, frame: Frame | undefined): EngineFrame | undefined {
  return frame?.engines.find((each) => each.marker === replica.marker);
}
