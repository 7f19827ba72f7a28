/** How an alias splits its calls, and the form it is written in. Pure. */
import type { Alias, AliasRequest } from "../../api/types";

export interface TargetDraft {
  /** Tells rows of the form apart while they move. */
  readonly row: number;
  /** A deployment's id, or "" while none is chosen. */
  deployment: string;
  weight: string;
}

export interface AliasDraft {
  name: string;
  targets: TargetDraft[];
}

/** A form with one target to choose, or the alias as it is. */
export function aliasDraft(of?: Alias): AliasDraft {
  const targets = of?.targets.map(({ deployment, weight }, row) => ({
    row,
    deployment: String(deployment),
    weight: String(weight ?? 1),
  }));
  return { name: of?.name ?? "", targets: targets?.length ? targets : [{ row: 0, deployment: "", weight: "1" }] };
}

/** The rows of the form with one more. */
export function withTarget(targets: readonly TargetDraft[]): TargetDraft[] {
  const row = 1 + Math.max(-1, ...targets.map((target) => target.row));
  return [...targets, { row, deployment: "", weight: targets.length ? "0" : "1" }];
}

/** The rows with the one at `index` moved one place up (-1) or down (1). */
export function moved(targets: readonly TargetDraft[], index: number, by: -1 | 1): TargetDraft[] {
  const to = index + by;
  if (to < 0 || to >= targets.length) return [...targets];
  const kept = targets.filter((_, at) => at !== index);
  return [...kept.slice(0, to), ...targets.slice(index, index + 1), ...kept.slice(to)];
}

/** The request, or what is wrong by field. Rows are in fallback order. */
export function aliasRequest(given: AliasDraft): { request: AliasRequest; wrong: Record<string, string> } {
  const wrong: Record<string, string> = {};
  const targets = given.targets.map(({ deployment, weight }) => ({
    deployment: Number(deployment),
    weight: readWeight(weight),
  }));
  if (!given.name.trim()) wrong["name"] = "give it a name";
  const ids = targets.map((target) => target.deployment);
  if (given.targets.some((target) => !target.deployment)) wrong["targets"] = "choose a deployment in each row";
  else if (new Set(ids).size < ids.length) wrong["targets"] = "each deployment can stand there once";
  else if (targets.some((target) => Number.isNaN(target.weight)))
    wrong["targets"] = "write weights as whole numbers from 0";
  else if (!targets.some((target) => target.weight > 0)) wrong["targets"] = "at least one weight must be above 0";
  return { request: { name: given.name.trim(), targets }, wrong };
}

function readWeight(text: string): number {
  return /^\s*\d+\s*$/.test(text) ? Number(text) : NaN;
}

export interface Share {
  readonly deployment: number;
  readonly name: string;
  /** Of the calls, from 0 to 1; 0 is only asked when others cannot answer. */
  readonly ratio: number;
}

/** What part of the calls each target is drawn for, in fallback order. */
export function shares(targets: readonly { deployment: number; name: string; weight: number }[]): Share[] {
  const all = targets.reduce((sum, target) => sum + target.weight, 0);
  return targets.map(({ deployment, name, weight }) => ({ deployment, name, ratio: all > 0 ? weight / all : 0 }));
}

/** The same of an alias there is. */
export function sharesOf(alias: Alias): Share[] {
  return shares(
    alias.targets.map((target) => ({
      deployment: target.deployment,
      name: target.deployment_name,
      weight: target.weight ?? 1,
    })),
  );
}

/** The same of a form that is being written: rows without a deployment are left out, a weight that is none counts as 0. */
export function sharesOfDraft(given: AliasDraft, nameOf: (deployment: number) => string | undefined): Share[] {
  const chosen = given.targets.filter((target) => target.deployment);
  const unique = chosen.filter(
    (target, at) => chosen.findIndex((other) => other.deployment === target.deployment) === at,
  );
  return shares(
    unique.map((target) => {
      const deployment = Number(target.deployment);
      return { deployment, name: nameOf(deployment) ?? String(deployment), weight: readWeight(target.weight) || 0 };
    }),
  );
}
