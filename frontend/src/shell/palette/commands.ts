/** What the command palette offers, and how what is typed finds it. Pure. */
import type { DeploymentRow, ReplicaRow, Verb } from "../../api/types";
import { TERMS } from "../../lib/terms";
import { NEEDS_STAFF } from "../../lib/words";

export interface Command {
  readonly id: string;
  readonly label: string;
  /** What kind of thing it is. */
  readonly group: "Page" | "View" | "Deployment" | "Verb" | "Term";
  /** Why it cannot be done now. */
  readonly refused?: string | undefined;
  readonly run: () => void;
}

interface Can {
  go(href: string): void;
  /** Show what is under way. */
  operations(): void;
  /** Say what a word means. */
  explain(word: string): void;
  why(deployment: DeploymentRow): void;
  edit(deployment: DeploymentRow): void;
  ask(replica: ReplicaRow, verb: Verb): void;
}

interface Known {
  readonly pages: readonly { readonly href: string; readonly word: string }[];
  readonly deployments: readonly DeploymentRow[];
  readonly replicas: readonly ReplicaRow[];
  readonly operator: boolean;
}

const OFFERED: readonly Verb[] = ["wake", "sleep", "start", "stop", "restart", "move", "cancel"];

export function commands({ pages, deployments, replicas, operator }: Known, can: Can): Command[] {
  const several = new Set(
    replicas.filter((one) => replicas.some((other) => other !== one && other.deployment === one.deployment)),
  );
  return [
    ...pages.map(({ href, word }): Command => ({
      id: href,
      label: word,
      group: "Page",
      run: () => can.go(href),
    })),
    { id: "operations", label: "Operations under way", group: "View", run: () => can.operations() },
    ...deployments.flatMap((one): Command[] => [
      { id: `why ${one.id}`, label: `Why ${one.name} is where it is`, group: "Deployment", run: () => can.why(one) },
      {
        id: `try ${one.id}`,
        label: `Try ${one.name} in the playground`,
        group: "Deployment",
        run: () => can.go(`/playground?${new URLSearchParams({ model: one.served_name })}`),
      },
      {
        id: `edit ${one.id}`,
        label: `Edit ${one.name}`,
        group: "Deployment",
        refused: operator ? undefined : NEEDS_STAFF,
        run: () => can.edit(one),
      },
    ]),
    ...replicas.flatMap((replica) =>
      OFFERED.map((verb): Command => ({
        id: `${verb} ${replica.id}`,
        label: asking(verb, `${replica.deployment_name}${several.has(replica) ? ` #${replica.id}` : ""}`),
        group: "Verb",
        refused: operator ? (replica.verbs[verb] ?? undefined) : NEEDS_STAFF,
        run: () => can.ask(replica, verb),
      })),
    ),
    ...TERMS.map(({ word }): Command => ({
      id: `term:${word}`,
      label: `What is meant: ${word}`,
      group: "Term",
      run: () => can.explain(word),
    })),
  ];
}

const SHOWN = 12;

/** What a verb is asked of: "Wake chat". */
function asking(verb: Verb, name: string): string {
  return {
    start: `Start ${name}`,
    wake: `Wake ${name}`,
    sleep: `Sleep ${name}`,
    move: `Move ${name}`,
    restart: `Restart ${name}`,
    cancel: `Cancel ${name}`,
    stop: `Stop ${name}`,
  }[verb];
}

/** Those that have every word that is typed, in the order of how well: what begins with it comes first, what can be done
    before what cannot. With nothing typed, the pages. */
export function matching(typed: string, all: readonly Command[]): Command[] {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return all.filter(({ group }) => group === "Page");
  const scored = all.flatMap((command) => {
    const label = command.label.toLowerCase();
    if (!words.every((word) => label.includes(word))) return [];
    const begins = words.filter((word) => ` ${label}`.includes(` ${word}`)).length;
    const first = label.startsWith(words[0] ?? "") ? 1 : 0;
    return [{ command, score: begins + first - (command.refused === undefined ? 0 : 10) }];
  });
  return scored
    .sort((a, b) => b.score - a.score)
    .slice(0, SHOWN)
    .map(({ command }) => command);
}
