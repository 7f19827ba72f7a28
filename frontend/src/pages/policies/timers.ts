/** What the form of idle times holds, as text, and the request it becomes. Pure. */
import type { DeploymentRequest, DeploymentRow } from "../../api/types";
import { duration, parseDuration, parseSeconds } from "../../lib/format";

export const TIMERS = [
  "idle_sleep_seconds",
  "idle_level_2_seconds",
  "idle_stop_seconds",
  "min_resident_seconds",
] as const;

export interface TimersDraft extends Record<(typeof TIMERS)[number], string> {
  pinned: boolean;
}

/** The deployment as it is. */
export function timersDraft(of: DeploymentRow): TimersDraft {
  const text = (field: (typeof TIMERS)[number]) => (of[field] === null ? "" : duration(of[field]));
  const [idle_sleep_seconds, idle_level_2_seconds, idle_stop_seconds, min_resident_seconds] = TIMERS.map(text) as [
    string,
    string,
    string,
    string,
  ];
  const pinned = of.in_force["pinned"]?.value ?? of.pinned;
  return {
    idle_sleep_seconds,
    idle_level_2_seconds,
    idle_stop_seconds,
    min_resident_seconds,
    pinned: Boolean(pinned),
  };
}

/** What was changed, or what is wrong by field; what the form shows rounded keeps its exact seconds. */
export function timersRequest(
  given: TimersDraft,
  of: DeploymentRow,
): { request: Partial<DeploymentRequest>; wrong: Record<string, string> } {
  const wrong: Record<string, string> = {};
  const request: Partial<DeploymentRequest> = {};
  const before = timersDraft(of);
  for (const field of TIMERS) {
    const text = given[field].trim();
    if (text === before[field]) continue;
    const seconds = parseDuration(text) ?? parseSeconds(text);
    if (text && seconds === undefined) wrong[field] = "write a length such as 15 min";
    request[field] = text ? (seconds ?? null) : null;
  }
  if (given.pinned !== before.pinned) request.pinned = given.pinned;
  return { request, wrong };
}
