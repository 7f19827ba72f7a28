/** What the page calls things. */
import type { ReplicaRow, State, Verb } from "../api/types";
import type { Connection } from "../live/connection";
import { word } from "../language/word";
import { lowered, plural } from "./format";
import type { PartKind } from "./memory";

export const STATES: Record<State, string> = {
  pending: "Pending",
  starting: "Starting",
  ready: "Ready",
  draining: "Draining",
  sleeping: "Sleeping",
  waking: "Waking",
  stopping: "Stopping",
  stopped: "Stopped",
  failed: "Failed",
};

/** What a memory bar is made of. */
export const PARTS: Record<PartKind, string> = {
  weights: word("weights"),
  overhead: word("overhead"),
  used: "KV cache in use",
  kept: "KV cache kept mapped",
  asleep: "kept while asleep",
  orphan: word("orphans"),
  foreign: "other processes",
  unexplained: word("unexplained"),
  unknown: "in use, by whom is not told",
};

export const CONNECTIONS: Record<Connection, { word: string; about: string }> = {
  connecting: { word: "Connecting", about: "Waiting for the first rows." },
  live: { word: "Live", about: "Rows and readings arrive as they change." },
  stale: { word: "Stale", about: "No reading of the GPUs has come for some seconds. What you see may be old." },
  reconnecting: { word: "Reconnecting", about: "The connection was lost. What you see may be old." },
};

export const VERBS: Record<Verb, string> = {
  start: "Start",
  wake: "Wake",
  sleep: "Sleep",
  move: "Move…",
  restart: "Restart…",
  cancel: "Cancel",
  stop: "Stop…",
};

export const NEEDS_STAFF = "this needs a staff account";

/** How often it failed of late; one that was never ready was not restarted. */
export function failures(replica: Pick<ReplicaRow, "restarts" | "ready_at">): string | undefined {
  if (replica.restarts === 0) return undefined;
  return replica.ready_at === null
    ? plural(replica.restarts, ["# failed start", "# failed starts"])
    : plural(replica.restarts, ["# restart", "# restarts"]);
}

/** Which settings it was not started with, though its deployment has them now. */
export function outdated(replica: Pick<ReplicaRow, "outdated">): string | undefined {
  if (replica.outdated.length === 0) return undefined;
  return `started before ${replica.outdated.join(", ")} changed; a restart applies that`;
}

/** What stands beside a replica's number. */
export function replicaNotes(replica: ReplicaRow): string[] {
  const others = replica.gpu_uuids.length - 1;
  return [
    replica.served_name === replica.deployment_name ? undefined : `served as ${replica.served_name}`,
    replica.replaces === null ? undefined : `takes over from replica ${replica.replaces}`,
    others > 0 ? `with ${plural(others, ["# more GPU", "# more GPUs"])}` : undefined,
    failures(replica),
    outdated(replica),
  ].filter((note) => note !== undefined);
}

/** What the replica is on its way to, when that is not where it is. */
export function heading(replica: ReplicaRow): string | undefined {
  if (replica.restarting) return "then start again";
  if (replica.disposable && replica.state !== "stopped") return "then removed";
  const { state, goal } = replica;
  const arrived = { ready: "ready", sleeping: "sleeping", stopped: "stopped" }[goal] === state;
  const onTheWay =
    (goal === "ready" && (state === "pending" || state === "starting" || state === "waking")) ||
    (goal === "sleeping" && state === "draining") ||
    (goal === "stopped" && state === "stopping");
  if (arrived || onTheWay || state === "failed") return undefined;
  return { ready: "then ready", sleeping: "then sleep", stopped: "then stop" }[goal];
}

/** What a screen reader is told when a replica changes. */
export function announcement(before: ReplicaRow | undefined, after: ReplicaRow): string | undefined {
  if (before === undefined || before.state === after.state) return undefined;
  const reason = after.state === "failed" && after.message ? `: ${after.message}` : "";
  return `${after.deployment_name} is ${lowered(STATES[after.state])}${reason}`;
}
