/** What a verb's answer means: the row says where the replica stands, people want to know what happens now. Pure. */
import type { DeploymentRow, ReplicaRow, Verb } from "../api/types";
import { lowered, plural } from "./format";
import { STATES } from "./words";

/** The verb in a sentence: "Could not put chat to sleep". */
export function doing(verb: Verb, name: string): string {
  return {
    start: `start ${name}`,
    wake: `wake ${name}`,
    sleep: `put ${name} to sleep`,
    move: `move ${name}`,
    restart: `restart ${name}`,
    cancel: `cancel what is under way with ${name}`,
    stop: `stop ${name}`,
  }[verb];
}

/** What happens after the verb, by the row that it answered with. */
export function whatHappens(verb: Verb, row: ReplicaRow): string {
  return `${row.deployment_name} ${VERBS[verb](row)}.`;
}

const FINISHES = "finishes the calls that run, then";

const VERBS: Record<Verb, (row: ReplicaRow) => string> = {
  start: heads,
  wake: heads,
  sleep: ({ state }) => (state === "sleeping" ? "sleeps already" : `${FINISHES} sleeps; the next call wakes it`),
  stop: ({ state }) => (state === "stopped" ? "is stopped" : `${FINISHES} its engine ends and its memory is freed`),
  restart: ({ state }) =>
    state === "ready" || state === "draining"
      ? `${FINISHES} starts again with the deployment's present settings`
      : "starts again with the deployment's present settings",
  move: () => "starts a copy there; calls go to it once it is ready",
  cancel: ({ goal }) => ({ stopped: "does not start after all", ready: "stays ready", sleeping: "stays asleep" })[goal],
};

/** On the way to ready, from wherever it is. */
function heads({ state, goal, message }: ReplicaRow): string {
  if (goal !== "ready") return `is ${lowered(STATES[state])}`;
  if (state === "ready") return "is ready already";
  if (state === "sleeping")
    return message ? `wakes as soon as it can: ${message.replace(/\.$/, "")}` : "wakes as soon as there is room";
  if (state === "waking") return "is waking";
  if (state === "pending" || state === "starting") return "is being started";
  return "starts again once its old engine has ended";
}

/** What deploying did, by the deployment's row. */
export function placedWords(row: DeploymentRow): string {
  if (row.placed < row.replicas)
    return `${row.name}: ${row.placed} of ${plural(row.replicas, ["# replica", "# replicas"])} placed; the rest is placed as soon as there is room.`;
  return `${row.name}: ${row.replicas === 1 ? "its replica is" : `all ${row.replicas} replicas are`} placed, and started where not running yet.`;
}
