/** What is looked for among decisions: as the page has it, as an address tells it, and as the server is asked. Pure. */
import type { Decided } from "../../api/types";

type Kind = Decided["kind"];

export const KINDS: Readonly<Record<Kind, string>> = {
  history: "What happened",
  eviction: "Evictions",
  placement: "No GPU found",
  wait: "Waits",
  refusal: "Refused verbs",
  limit: "KV limits",
  orphan: "Engines without a replica",
  cordon: "GPUs in maintenance",
};
/** Limits change by the second: they are seen where they are asked for. */
const USUAL = (Object.keys(KINDS) as Kind[]).filter((kind) => kind !== "limit").join();

export const PAGE = 50;
const FIELDS = ["kind", "actor", "deployment", "gpu", "since", "until"] as const;

export interface Sought {
  /** "" is every kind but limits. */
  kind: string;
  actor: string;
  deployment: string;
  /** A UUID. */
  gpu: string;
  /** As `<input type="datetime-local">` has them, in UTC. */
  since: string;
  until: string;
  offset: number;
}

export function soughtFromQuery(search: string): Sought {
  const query = new URLSearchParams(search);
  const offset = Number(query.get("offset") ?? 0);
  const of = (name: string) => query.get(name) ?? "";
  return {
    kind: of("kind") in KINDS ? of("kind") : "",
    actor: of("actor"),
    deployment: of("deployment"),
    gpu: of("gpu"),
    since: of("since"),
    until: of("until"),
    offset: Number.isInteger(offset) && offset > 0 ? offset : 0,
  };
}

export function soughtToQuery(sought: Sought): string {
  const query = new URLSearchParams(FIELDS.filter((name) => sought[name]).map((name) => [name, sought[name]]));
  if (sought.offset) query.set("offset", String(sought.offset));
  return query.toString();
}

/** As `/api/decisions` takes it. */
export function asked(sought: Sought): string {
  const query = new URLSearchParams(soughtToQuery(sought));
  query.set("kind", sought.kind || USUAL);
  for (const name of ["since", "until"] as const) if (sought[name]) query.set(name, `${sought[name]}Z`);
  query.set("limit", String(PAGE));
  return query.toString();
}

/** What an entry's colour stands for is also said by the word of its kind. */
export const wordOf = (entry: Decided): string =>
  entry.kind === "history" && entry.code === "evicted" ? "Eviction" : KINDS[entry.kind];
