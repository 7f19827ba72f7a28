/** What the window form holds, as text, and the request it becomes. Pure. */
import type { WindowRequest, WindowRow, WindowStateRequest } from "../../../api/types";
import { bytes, duration, parseBytes, parseDuration, parseSeconds } from "../../../lib/format";

export const DAYS = { mon: "Mon", tue: "Tue", wed: "Wed", thu: "Thu", fri: "Fri", sat: "Sat", sun: "Sun" } as const;
export type Day = keyof typeof DAYS;

const SIZES = ["kv_floor_bytes", "kv_cap_bytes"] as const;
const NUMBERS = ["priority", "kv_weight", "replicas", "max_concurrency", "queue_limit"] as const;
/** The settings of a deployment that a window may ask for. */
export const SETTINGS = ["level", ...NUMBERS, ...SIZES, "pinned", "queue_seconds"] as const;
export type Setting = (typeof SETTINGS)[number];

/** What is asked of one deployment or label; "" leaves a setting as it is. */
export interface StateDraft extends Record<Setting, string> {
  /** Tells rows of the form apart. */
  readonly row: number;
  /** "deployment:chat" or "label:team=ml"; "" while nobody is chosen. */
  target: string;
}

export interface WindowDraft {
  name: string;
  /** Whether it opens on days at a time, or by a cron expression. */
  by: "days" | "cron";
  days: Day[];
  time: string;
  cron: string;
  zone: string;
  duration: string;
  precedence: string;
  ready_by: boolean;
  paused: boolean;
  valid_from: string;
  valid_until: string;
  states: StateDraft[];
}

/** A form with one row to fill, or the window as it is. */
export function windowDraft(zone: string, of?: WindowRow): WindowDraft {
  return {
    name: of?.name ?? "",
    by: of?.cron ? "cron" : "days",
    days: of === undefined ? ["mon", "tue", "wed", "thu", "fri"] : (of.weekdays as Day[]),
    time: of === undefined ? "09:00" : (of.time ?? ""),
    cron: of?.cron ?? "",
    zone: of?.zone ?? zone,
    duration: of === undefined ? "9 h" : duration(of.duration_seconds),
    precedence: String(of?.precedence ?? 0),
    ready_by: of?.ready_by ?? false,
    paused: of?.paused ?? false,
    valid_from: local(of?.valid_from),
    valid_until: local(of?.valid_until),
    states: of === undefined ? [stateDraft(0)] : of.states.map((state, row) => stateDraft(row, state)),
  };
}

/** One row of what is asked. */
export function stateDraft(row: number, of?: WindowRow["states"][number]): StateDraft {
  const size = (field: (typeof SIZES)[number]) => (of?.[field] ? bytes(of[field]) : "");
  const number = (field: (typeof NUMBERS)[number] | "queue_seconds") => String(of?.[field] ?? "");
  return {
    row,
    target: of === undefined ? "" : of.deployment === null ? `label:${of.label}` : `deployment:${of.deployment_name}`,
    level: of?.level ?? "",
    kv_floor_bytes: size("kv_floor_bytes"),
    kv_cap_bytes: size("kv_cap_bytes"),
    kv_weight: number("kv_weight"),
    priority: number("priority"),
    replicas: number("replicas"),
    max_concurrency: number("max_concurrency"),
    queue_limit: number("queue_limit"),
    pinned: of?.pinned === true ? "yes" : of?.pinned === false ? "no" : "",
    queue_seconds: number("queue_seconds"),
  };
}

/** The rows with one more. */
export function withState(states: readonly StateDraft[]): StateDraft[] {
  return [...states, stateDraft(1 + Math.max(-1, ...states.map((state) => state.row)))];
}

/** The request, or what is wrong by field; that of the second row's priority is "states.1.priority". */
export function windowRequest(
  given: WindowDraft,
  of?: WindowRow,
): { request: WindowRequest; wrong: Record<string, string> } {
  const wrong: Record<string, string> = {};
  const asked = of && windowDraft(given.zone, of);
  const seconds = asked && asked.duration === given.duration ? of.duration_seconds : parseDuration(given.duration);
  if (!given.name.trim()) wrong["name"] = "give it a name";
  if (!given.zone.trim()) wrong["zone"] = "say whose clock it follows";
  if (seconds === undefined) wrong["duration_seconds"] = "write a length such as 9 h or 1 h 30 min";
  if (!/^\s*-?\d+\s*$/.test(given.precedence)) wrong["precedence"] = "write a whole number";
  Object.assign(wrong, wrongTimes(given));
  const request: WindowRequest = {
    name: given.name.trim(),
    ...opens(given),
    zone: given.zone.trim(),
    duration_seconds: seconds ?? 0,
    precedence: Number(given.precedence),
    ready_by: given.ready_by,
    paused: given.paused,
    valid_from: instant(given.valid_from, of?.valid_from),
    valid_until: instant(given.valid_until, of?.valid_until),
    states: given.states.map((state, index) => stateRequest(state, index, wrong, of)),
  };
  return { request, wrong };
}

function opens(given: WindowDraft): Pick<WindowRequest, "cron" | "weekdays" | "time"> {
  if (given.by === "cron") return { cron: given.cron.trim(), weekdays: [], time: null };
  return { cron: "", weekdays: given.days, time: given.time || null };
}

function wrongTimes(given: WindowDraft): Record<string, string> {
  if (given.by === "cron") return given.cron.trim() ? {} : { cron: "write five fields, such as 0 9 * * 1-5" };
  return {
    ...(given.days.length === 0 && { weekdays: "choose at least one day" }),
    ...(given.time === "" && { time: "say at what time it opens" }),
  };
}

function stateRequest(
  given: StateDraft,
  index: number,
  wrong: Record<string, string>,
  of?: WindowRow,
): WindowStateRequest {
  const at = (field: string) => `states.${index}.${field}`;
  const [kind, ...name] = given.target.split(":");
  const made: WindowStateRequest = {};
  if (kind === "deployment") Object.assign(made, { deployment: name.join(":") });
  else made.label = name.join(":");
  if (!given.target) wrong[at("deployment")] = "choose of whom it asks this";
  if (given.level) made.level = given.level as NonNullable<WindowStateRequest["level"]>;
  if (given.pinned) made.pinned = given.pinned === "yes";
  for (const field of SIZES) {
    const size = exactly(given, field, of) ?? parseBytes(given[field]);
    if (given[field].trim() && size === undefined) wrong[at(field)] = "write a size such as 16 GiB";
    if (size !== undefined) made[field] = size;
  }
  for (const field of NUMBERS) {
    const text = given[field].trim();
    if (text && !/^-?\d+$/.test(text)) wrong[at(field)] = "write a whole number";
    if (text) made[field] = Number(text);
  }
  const wait = given.queue_seconds.trim();
  if (wait && parseSeconds(wait) === undefined) wrong[at("queue_seconds")] = "write seconds such as 30 s";
  if (wait) made.queue_seconds = parseSeconds(wait) ?? 0;
  return made;
}

/** An unchanged size keeps its exact bytes, which the form shows rounded. */
function exactly(given: StateDraft, field: (typeof SIZES)[number], of?: WindowRow): number | undefined {
  const before = of?.states[given.row];
  if (before === undefined || stateDraft(given.row, before).target !== given.target) return undefined;
  return before[field] && bytes(before[field]) === given[field] ? before[field] : undefined;
}

/** As an input for date and time takes it, by this browser's clock. */
function local(at: string | null | undefined): string {
  if (!at) return "";
  const date = new Date(at);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** What was not changed keeps its seconds, which the form does not show. */
function instant(text: string, before: string | null | undefined): string | null {
  if (before && local(before) === text) return before;
  return text ? new Date(text).toISOString() : null;
}
