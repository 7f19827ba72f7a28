/** Asking for things. What happens then shows in rows; only refusals need words of their own. */
import { ApiError, act, deleteDeployment, deploy } from "../api/client";
import type { DeploymentRow, ReplicaRow, Verb } from "../api/types";
import { bytes } from "../lib/format";
import { dialogs } from "./dialogs.svelte";
import { live } from "./live.svelte";
import { notices } from "./notices.svelte";
import { session } from "./session.svelte";

/** A refusal in words, with the arithmetic if there was any. */
export function inWords(error: unknown): string {
  if (!(error instanceof ApiError)) throw error;
  const { needed_bytes: needed, free_bytes: free } = error.fields;
  if (typeof needed !== "number" || typeof free !== "number") return error.message;
  const where = error.code === "host_memory_short" ? "The host's RAM has no room" : "No GPU has room";
  return `${where}: ${bytes(needed)} are needed, ${bytes(free)} can be promised.`;
}

async function attempt(what: string, ask: () => Promise<unknown>): Promise<boolean> {
  try {
    await ask();
    return true;
  } catch (error) {
    notices.error(`${what}: ${inWords(error)}`);
    if (error instanceof ApiError && error.status === 401) await session.look();
    return false;
  }
}

/** Ask a replica for a verb, after a dialog where one belongs. */
export function ask(replica: ReplicaRow, verb: Verb, given: object = {}): void {
  if (verb === "move") dialogs.move(replica);
  else if (verb === "stop") confirmStop(replica);
  else void request(replica, verb, given);
}

/** Ask for a verb at once. */
export async function request(replica: ReplicaRow, verb: Verb, given: object = {}): Promise<boolean> {
  return attempt(`${replica.deployment_name}, ${verb}`, async () => {
    live.take(await act(replica.id, verb, given));
    notices.speak(`${replica.deployment_name}: ${verb} was asked for`);
  });
}

function confirmStop(replica: ReplicaRow): void {
  dialogs.confirm({
    title: `Stop ${replica.deployment_name}?`,
    text: "Running requests may finish; then the engine ends and its memory is freed. New requests are refused while no replica of the deployment runs.",
    action: "Stop",
    run: async () => void (await request(replica, "stop")),
  });
}

/** Place what is missing of a deployment. */
export async function deployAgain(deployment: DeploymentRow): Promise<void> {
  await attempt(`${deployment.name}, deploy`, () => deploy(deployment.id));
}

/** Delete a deployment once somebody said yes. */
export function confirmDelete(deployment: DeploymentRow): void {
  dialogs.confirm({
    title: `Delete ${deployment.name}?`,
    text: deployment.placed
      ? "Every replica is drained and stopped, then the deployment is forgotten. The model stays."
      : "The deployment is forgotten. The model stays.",
    action: "Delete",
    run: async () => void (await attempt(`${deployment.name}, delete`, () => deleteDeployment(deployment.id))),
  });
}
