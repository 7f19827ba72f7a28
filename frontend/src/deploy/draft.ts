/** What the deploy form holds, as text, and the request it becomes. Pure. */
import type { DeploymentRequest, DeploymentRow } from "../api/types";
import { bytes, parseBytes, parseNumber, splitWords } from "../lib/format";

const SIZES = ["weights_bytes", "overhead_bytes", "kv_floor_bytes", "kv_cap_bytes"] as const;
/** Sizes that decide where a replica fits. */
const FITTED = ["weights_bytes", "overhead_bytes", "kv_floor_bytes"] as const;
const NUMBERS = ["max_model_len", "idle_sleep_seconds", "max_concurrency"] as const;
/** Requests that may wait for a place where nothing else is said. */
export const QUEUE_LIMIT = 1000;
type Size = (typeof SIZES)[number];
type Optional = (typeof NUMBERS)[number];

/** Chosen instead of a model: one that is added with the deployment. */
export const NEW = "new";

export interface Draft extends Record<Size | Optional, string> {
  name: string;
  served_name: string;
  model: string;
  /** Of a new model. */
  source: string;
  revision: string;
  /** A UUID; "" for the one with the most room. */
  gpu: string;
  runtime: string;
  extra_args: string;
  replicas: number;
  tensor_parallel: number;
  priority: number;
  kv_weight: number;
  /** "0" is said: then nobody waits. */
  queue_limit: string;
  queue_seconds: string;
  prefix_affinity: boolean;
  ignore_known_problems: boolean;
  sleep_enabled: boolean;
  pinned: boolean;
  /** Others may be put to sleep for it. */
  evict: boolean;
  /** Of one that is edited: running replicas get the new settings now. */
  roll_out: boolean;
  two_phase: boolean;
}

/** An empty form, or the deployment as it is. */
export function draft(of?: DeploymentRow): Draft {
  const size = (field: Size) => (of?.[field] ? bytes(of[field]) : "");
  const number = (field: Optional) => (of?.[field] ? String(of[field]) : "");
  return {
    name: of?.name ?? "",
    served_name: of?.served_name ?? "",
    model: of ? String(of.model) : "",
    source: "",
    revision: "",
    gpu: "",
    runtime: of ? String(of.runtime) : "",
    extra_args: of?.extra_args.map(quoted).join("\n") ?? "",
    replicas: of?.replicas ?? 1,
    tensor_parallel: of?.tensor_parallel ?? 1,
    priority: of?.priority ?? 0,
    kv_weight: of?.kv_weight ?? 1,
    sleep_enabled: of?.sleep_enabled ?? true,
    pinned: of?.pinned ?? false,
    evict: false,
    roll_out: false,
    two_phase: false,
    weights_bytes: size("weights_bytes"),
    overhead_bytes: size("overhead_bytes"),
    kv_floor_bytes: size("kv_floor_bytes"),
    kv_cap_bytes: size("kv_cap_bytes"),
    max_model_len: number("max_model_len"),
    idle_sleep_seconds: number("idle_sleep_seconds"),
    max_concurrency: number("max_concurrency"),
    queue_limit: of ? String(of.queue_limit) : "",
    queue_seconds: String(of?.queue_seconds ?? ""),
    prefix_affinity: of?.prefix_affinity ?? false,
    ignore_known_problems: of?.ignore_known_problems ?? false,
  };
}

/** The request, or what is wrong by field. An unchanged size keeps its exact bytes, which the form shows rounded. */
export function request(
  given: Draft,
  of?: DeploymentRow,
): { request: DeploymentRequest; wrong: Record<string, string> } {
  const wrong: Record<string, string> = {};
  const before = draft(of);
  const made: DeploymentRequest = {
    name: given.name.trim(),
    ...modelOf(given, wrong),
    ...placing(given, of),
    extra_args: splitWords(given.extra_args),
    replicas: given.replicas,
    tensor_parallel: given.tensor_parallel,
    priority: given.priority,
    kv_weight: given.kv_weight,
    prefix_affinity: given.prefix_affinity,
    ignore_known_problems: given.ignore_known_problems,
    sleep_enabled: given.sleep_enabled,
    pinned: given.pinned,
  };
  if (given.served_name.trim()) made.served_name = given.served_name.trim();
  if (given.runtime) made.runtime = Number(given.runtime);
  for (const field of SIZES) {
    if (of !== undefined && given[field] === before[field]) continue;
    const size = parseBytes(given[field]);
    if (given[field].trim() && size === undefined) wrong[field] = "write a size such as 16 GiB";
    made[field] = size ?? null;
  }
  for (const field of NUMBERS) {
    const text = given[field].trim();
    const value = parseNumber(text);
    if (text && !(value > 0)) wrong[field] = "write a number above zero";
    else if (text && field === "max_concurrency" && !Number.isInteger(value)) wrong[field] = "write a whole number";
    made[field] = text ? value : null;
  }
  Object.assign(made, queue(given, wrong));
  if (!made.name) wrong["name"] = "give it a name";
  return { request: made, wrong };
}

/** One there is, or the source of a new one, which comes to be together with the deployment or not at all. */
function modelOf(
  given: Draft,
  wrong: Record<string, string>,
): Pick<DeploymentRequest, "model" | "source" | "revision"> {
  if (given.model === NEW) {
    if (!given.source.trim()) wrong["source"] = "give a folder or an id";
    return { source: given.source.trim(), revision: given.revision.trim() };
  }
  if (!given.model) wrong["model"] = "choose a model";
  return { model: Number(given.model) };
}

/** A new deployment is placed at once; so is one whose number of replicas changes. */
function placing(
  given: Draft,
  of?: DeploymentRow,
): Pick<DeploymentRequest, "deploy" | "gpu" | "evict" | "roll_out" | "two_phase"> {
  if (of !== undefined)
    return {
      deploy: given.replicas !== of.replicas,
      ...(given.roll_out ? { roll_out: true, two_phase: given.two_phase } : {}),
    };
  return { deploy: true, ...(given.gpu ? { gpu: given.gpu } : {}), ...(given.evict ? { evict: true } : {}) };
}

function queue(given: Draft, wrong: Record<string, string>): Pick<DeploymentRequest, "queue_limit" | "queue_seconds"> {
  const [limit, seconds] = [given.queue_limit.trim(), given.queue_seconds.trim()];
  if (limit && !/^\d+$/.test(limit)) wrong["queue_limit"] = "write a whole number; 0 lets nobody wait";
  if (seconds && !(Number(seconds) >= 0)) wrong["queue_seconds"] = "write seconds, such as 30";
  return { queue_limit: limit ? Number(limit) : QUEUE_LIMIT, queue_seconds: seconds ? Number(seconds) : null };
}

/** Asks where what the form says so far would fit; undefined while it does not say of which model. */
export function fitQuery(given: Draft, of?: DeploymentRow): string | undefined {
  const isNew = given.model === NEW;
  if (isNew ? !given.source.trim() : !given.model) return undefined;
  const more = of === undefined ? given.replicas : Math.max(0, given.replicas - of.placed);
  const query = new URLSearchParams(isNew ? { source: given.source.trim() } : { model: given.model });
  const length = Number(given.max_model_len);
  const told: Record<string, string | number | undefined> = {
    deployment: of?.id,
    revision: isNew ? given.revision.trim() : undefined,
    runtime: given.runtime,
    gpu: given.gpu,
    replicas: Number.isInteger(more) && more >= 0 ? more : undefined,
    tensor_parallel: given.tensor_parallel >= 1 ? given.tensor_parallel : undefined,
    max_model_len: Number.isInteger(length) && length > 0 ? length : undefined,
    ...Object.fromEntries(FITTED.map((field) => [field, sizeOf(field, given, of) || undefined])),
  };
  for (const [field, value] of Object.entries(told))
    if (value !== undefined && value !== "") query.set(field, String(value));
  for (const word of splitWords(given.extra_args)) query.append("extra_args", word);
  return query.toString();
}

/** The bytes a field says: those of the deployment while nobody has touched it, for the form shows them rounded. */
function sizeOf(field: Size, given: Draft, of?: DeploymentRow): number | undefined {
  const untouched = of !== undefined && given[field] === draft(of)[field];
  return untouched ? (of[field] ?? undefined) : parseBytes(given[field]);
}

function quoted(word: string): string {
  return /[\s#"']/.test(word) || word === "" ? (word.includes('"') ? `'${word}'` : `"${word}"`) : word;
}

/** A name for a deployment from a model's source: the last part, in the letters a name may have. */
export function nameFrom(source: string): string {
  const last = source.replace(/\/+$/, "").split("/").at(-1) ?? "";
  return last
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, "-")
    .replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, "")
    .slice(0, 63);
}
