/** Asking for things. What happens then shows in rows; only refusals need words of their own. */
import { ApiError, act, applyPlan, deleteDeployment, deploy, whatIf } from "../api/client";
import type { DeploymentRow, ReplicaRow, Verb } from "../api/types";
import { lowered, plural } from "../lib/format";
import { doing, placedWords, whatHappens } from "../lib/answers";
import { dialogs } from "./dialogs.svelte";
import { live } from "./live.svelte";
import { notices } from "./notices.svelte";
import { session } from "./session.svelte";

/** A refusal in words: the server's own, which name the GPU and give its arithmetic. */
export function inWords(error: unknown): string {
  if (!(error instanceof ApiError)) throw error;
  return error.message;
}

/** Ask, and say what happens now or that it could not be done: `what` as in "stop chat". */
export async function attempt(what: string, ask: () => Promise<string | undefined>): Promise<boolean> {
  try {
    const told = await ask();
    if (told !== undefined) notices.done(told);
    return true;
  } catch (error) {
    notices.error(`Could not ${what}: ${inWords(error)}`);
    if (error instanceof ApiError && error.status === 401) await session.look();
    return false;
  }
}

/** Ask a replica for a verb, after a dialog where one belongs. */
export function ask(replica: ReplicaRow, verb: Verb, given: object = {}): void {
  if (verb === "move") dialogs.move(replica);
  else if (verb === "stop") confirmStop(replica);
  else if (verb === "restart") confirmRestart(replica);
  else void request(replica, verb, given);
}

/** Ask for a verb at once. */
export async function request(replica: ReplicaRow, verb: Verb, given: object = {}): Promise<boolean> {
  return attempt(doing(verb, replica.deployment_name), async () => {
    const row = await act(replica.id, verb, given);
    live.take(row);
    return whatHappens(verb, row);
  });
}

function confirmStop(replica: ReplicaRow): void {
  dialogs.confirm({
    title: `Stop ${replica.deployment_name}?`,
    text: "Calls that run may finish; then the engine ends and its memory is freed. New calls are refused while no replica of the deployment runs.",
    action: "Stop",
    wish: { verb: "stop", replica: replica.id },
    run: async () => void (await request(replica, "stop")),
  });
}

function confirmRestart(replica: ReplicaRow): void {
  dialogs.confirm({
    title: `Restart ${replica.deployment_name}?`,
    text: "Calls that run may finish; then the engine ends and starts again with the deployment's present settings.",
    action: "Restart",
    wish: { verb: "restart", replica: replica.id },
    run: async () => void (await request(replica, "restart")),
  });
}

/** Put a replica to sleep once somebody has seen what that would do. */
export function confirmSleep(replica: ReplicaRow, level: 1 | 2): void {
  const deeply = "Its weights are given up, not copied to host RAM: waking takes longer, and holds nothing meanwhile.";
  const lightly = "Its weights go to host RAM, and its GPU memory is free for others.";
  dialogs.confirm({
    title: level === 2 ? `Put ${replica.deployment_name} to sleep deeply?` : `Put ${replica.deployment_name} to sleep?`,
    text: `Calls that run may finish. ${level === 2 ? deeply : lightly} The next call wakes it.`,
    action: "Sleep",
    calm: true,
    wish: { verb: "sleep", replica: replica.id, level },
    run: async () => void (await request(replica, "sleep", { level })),
  });
}

const SEVERAL = {
  wake: {
    title: "Wake",
    several: (many: string) => `Wake ${many}`,
    text: "Every replica of these that sleeps wakes.",
    calm: true,
  },
  sleep: {
    title: "Put to sleep",
    several: (many: string) => `Put ${many} to sleep`,
    text: "Calls that run may finish, then the GPU memory is free for others. The next call wakes each of them.",
    calm: true,
  },
  stop: {
    title: "Stop",
    several: (many: string) => `Stop ${many}`,
    text: "Calls that run may finish; then the engines end and their memory is freed. New calls are refused.",
    calm: false,
  },
  delete: {
    title: "Delete",
    several: (many: string) => `Delete ${many}`,
    text: "Calls that run may finish, then every replica stops and the deployments are forgotten. Models stay.",
    calm: false,
  },
} as const;
export type SeveralVerb = keyof typeof SEVERAL;

/** Do one thing to several deployments, all of them or none, once somebody has seen what that would do. */
export function confirmSeveral(verb: SeveralVerb, deployments: readonly DeploymentRow[]): void {
  const { title, several, text, calm } = SEVERAL[verb];
  const many = plural(deployments.length, ["# deployment", "# deployments"]);
  const wish = { verb: "all", actions: deployments.map(({ id }) => ({ verb, deployment: id })) };
  dialogs.confirm({
    title: `${several(many)}?`,
    text: `${deployments.map(({ name }) => name).join(", ")}. ${text}`,
    action: title,
    calm,
    wish,
    run: async () =>
      void (await attempt(lowered(several(many)), async () => {
        await applyPlan((await whatIf(wish)).id);
        return `${title}, ${many}: under way.`;
      })),
  });
}

/** Place what is missing of a deployment. */
export async function deployAgain(deployment: DeploymentRow): Promise<void> {
  await attempt(`deploy ${deployment.name}`, async () => placedWords(await deploy(deployment.id)));
}

/** Delete a deployment once somebody said yes. */
export function confirmDelete(deployment: DeploymentRow): void {
  dialogs.confirm({
    title: `Delete ${deployment.name}?`,
    text: deployment.placed
      ? "Calls that run may finish, then every replica stops and the deployment is forgotten. Its model stays, on the Models page."
      : "The deployment is forgotten. Its model stays, on the Models page.",
    action: "Delete",
    wish: { verb: "delete", deployment: deployment.id },
    run: async () =>
      void (await attempt(`delete ${deployment.name}`, async () =>
        (await deleteDeployment(deployment.id))
          ? `${deployment.name} goes once its engines have ended.`
          : `${deployment.name} is deleted.`,
      )),
  });
}
