/** Settings that a window or an override decides, in words. Pure. */
import { word } from "../language/word";
import type { DeploymentRow } from "../api/types";
import { bytes, duration } from "./format";

const NAMES: Readonly<Record<string, string>> = {
  level: "",
  kv_floor_bytes: "KV floor",
  kv_cap_bytes: "KV cap",
  kv_weight: "KV weight",
  max_concurrency: "requests at once",
  queue_limit: "longest queue",
  queue_seconds: "longest wait in the queue",
  priority: word("priority"),
};

export const LEVELS = {
  awake: word("awake"),
  asleep_1: "asleep at level 1",
  asleep_2: "asleep at level 2",
  stopped: word("stopped"),
  by_hand: "as the operator set it",
} as const;

/** One setting: "awake", "priority 5", "KV floor 16 GiB", "not pinned". */
export function settingWords(field: string, value: unknown): string {
  if (field === "level") return LEVELS[value as keyof typeof LEVELS] ?? String(value);
  if (field === "pinned") return value ? word("pinned") : "not pinned";
  const name = NAMES[field] ?? field.replaceAll("_", " ");
  if (value === null) return `no ${name}`;
  if (field.endsWith("_bytes")) return `${name} ${bytes(Number(value))}`;
  return `${name} ${field.endsWith("_seconds") ? duration(Number(value)) : String(value)}`;
}

export interface Governed {
  /** "window work", "override by olive". */
  readonly who: string;
  readonly by: "window" | "override";
  readonly words: string;
}

/** Who decides what of a deployment, each once. */
export function governed(deployment: Pick<DeploymentRow, "in_force">): Governed[] {
  const found = new Map<string, { by: Governed["by"]; said: string[] }>();
  for (const [field, { by, name, value }] of Object.entries(deployment.in_force)) {
    const who = by === "window" ? `window ${name}` : `override by ${name}`;
    const held = found.get(who) ?? { by, said: [] };
    held.said.push(settingWords(field, value));
    found.set(who, held);
  }
  return [...found].map(([who, { by, said }]) => ({ who, by, words: said.join(", ") }));
}

export interface NextChange {
  readonly at: string;
  readonly names: readonly string[];
}

/** When what is in force changes next by the clock, and for whom. */
export function nextChange(rows: readonly Pick<DeploymentRow, "name" | "changes_at">[]): NextChange | undefined {
  const coming = rows.flatMap(({ name, changes_at }) => (changes_at ? [{ name, at: Date.parse(changes_at) }] : []));
  if (coming.length === 0) return undefined;
  const first = Math.min(...coming.map(({ at }) => at));
  return {
    at: new Date(first).toISOString(),
    names: coming.filter(({ at }) => at === first).map(({ name }) => name),
  };
}
