/** What the list of deployments shows, and its view as the address says it. Pure. */
import type { DeploymentRow, ReplicaRow, State } from "../../api/types";
import { STATES } from "../../lib/words";

export const SORTS = {
  name: "Name",
  state: "State",
  priority: "Priority",
  reserved: "GPU memory reserved",
  created: "Age",
} as const;
export type Sort = keyof typeof SORTS;

/** A state that any of its replicas is in; "none": nothing is placed. */
export type StateFilter = State | "none" | "";
const ORDER = Object.keys(STATES) as State[];

export interface View {
  readonly text: string;
  readonly state: StateFilter;
  /** A GPU's UUID. */
  readonly gpu: string;
  /** As "team=search". */
  readonly label: string;
  readonly sort: Sort;
  readonly down: boolean;
  readonly as: "table" | "cards";
}
export const PLAIN: View = { text: "", state: "", gpu: "", label: "", sort: "name", down: false, as: "table" };

/** A deployment and what its replicas add up to. */
export interface Seen {
  readonly row: DeploymentRow;
  readonly replicas: readonly ReplicaRow[];
  /** How many are in which state, in the order of a replica's life. */
  readonly states: readonly (readonly [State, number])[];
  readonly gpus: readonly string[];
  readonly reservedBytes: number;
}

export function seen(deployments: readonly DeploymentRow[], replicas: readonly ReplicaRow[]): Seen[] {
  const own = new Map<number, ReplicaRow[]>();
  for (const replica of replicas) own.set(replica.deployment, [...(own.get(replica.deployment) ?? []), replica]);
  return deployments.map((row) => {
    const mine = own.get(row.id) ?? [];
    const count = (state: State) => mine.filter((one) => one.state === state).length;
    return {
      row,
      replicas: mine,
      states: ORDER.map((state) => [state, count(state)] as const).filter(([, many]) => many > 0),
      gpus: [...new Set(mine.flatMap((one) => one.gpu_uuids))],
      reservedBytes: mine.flatMap((one) => one.reservations).reduce((sum, held) => sum + held.held_bytes, 0),
    };
  });
}

export function labelsOf(deployments: readonly DeploymentRow[]): string[] {
  return [...new Set(deployments.flatMap(labels))].sort();
}

export function labels({ labels: all }: Pick<DeploymentRow, "labels">): string[] {
  return Object.entries(all).map(([key, value]) => `${key}=${value}`);
}

/** Those that a view asks for, in its order. */
export function shown(all: readonly Seen[], view: View): Seen[] {
  const found = all.filter((one) => matches(one, view));
  const way = view.down ? -1 : 1;
  return found.sort((a, b) => way * compare(a, b, view.sort) || a.row.name.localeCompare(b.row.name));
}

function matches({ row, states, gpus }: Seen, { text, state, gpu, label }: View): boolean {
  const words = text.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const held = [row.name, row.served_name, row.model_name, row.runtime_name, ...labels(row)].join(" ").toLowerCase();
  return (
    words.every((word) => held.includes(word)) &&
    (state === "" || (state === "none" ? states.length === 0 : states.some(([one]) => one === state))) &&
    (gpu === "" || gpus.includes(gpu)) &&
    (label === "" || labels(row).includes(label))
  );
}

function compare(a: Seen, b: Seen, sort: Sort): number {
  if (sort === "priority") return a.row.priority - b.row.priority;
  if (sort === "reserved") return a.reservedBytes - b.reservedBytes;
  if (sort === "created") return Date.parse(b.row.created_at) - Date.parse(a.row.created_at);
  if (sort === "state") return place(a) - place(b);
  return a.row.name.localeCompare(b.row.name);
}

/** The one furthest from trouble counts. */
function place({ states }: Seen): number {
  const first = states[0]?.[0];
  return states.some(([state]) => state === "ready") ? -1 : first === undefined ? ORDER.length : ORDER.indexOf(first);
}

export function viewOf(search: string): View {
  const asked = new URLSearchParams(search);
  const state = asked.get("state") ?? "";
  const sort = asked.get("sort") ?? "";
  const name = sort.replace(/^-/, "");
  return {
    text: asked.get("q") ?? "",
    state: state === "none" || state in STATES ? (state as StateFilter) : "",
    gpu: asked.get("gpu") ?? "",
    label: asked.get("label") ?? "",
    sort: name in SORTS ? (name as Sort) : PLAIN.sort,
    down: sort.startsWith("-"),
    as: asked.get("as") === "cards" ? "cards" : "table",
  };
}

/** The address of a view: what is as it would be without saying is not said. */
export function searchOf(view: View): string {
  const said = new URLSearchParams();
  if (view.text) said.set("q", view.text);
  for (const name of ["state", "gpu", "label"] as const) if (view[name]) said.set(name, view[name]);
  if (view.sort !== PLAIN.sort || view.down) said.set("sort", `${view.down ? "-" : ""}${view.sort}`);
  if (view.as !== PLAIN.as) said.set("as", view.as);
  return said.size ? `?${said}` : "";
}

/** Where its page is. */
export function hrefOf(name: string): string {
  return `/deployments/${encodeURIComponent(name)}`;
}
