/** Windows and timers in words. Pure. */
import { word } from "../../language/word";
import type { DeploymentRow, WindowRow } from "../../api/types";
import { duration } from "../../lib/format";
import { settingWords } from "../../lib/governed";
import { DAYS, SETTINGS, type Day } from "./editor/draft";

type State = WindowRow["states"][number];
const WEEK = Object.keys(DAYS) as Day[];

/** "Mon to Fri at 09:00 for 9 h, Europe/Berlin". */
export function whenWords(window: WindowRow): string {
  const opens = window.cron ? `cron ${window.cron}` : `${daysWords(window.weekdays as Day[])} at ${window.time}`;
  return `${opens} for ${duration(window.duration_seconds)}, ${window.zone}${window.ready_by ? ", ready by then" : ""}`;
}

/** "Mon to Fri", "Sat, Sun", "every day". */
export function daysWords(days: readonly Day[]): string {
  const at = WEEK.flatMap((day, index) => (days.includes(day) ? [index] : []));
  if (at.length === WEEK.length) return "every day";
  const [first, last] = [at[0] ?? 0, at.at(-1) ?? 0];
  const named = at.map((index) => DAYS[WEEK[index] as Day]);
  return at.length > 2 && last - first === at.length - 1 ? `${named[0]} to ${named.at(-1)}` : named.join(", ");
}

/** "awake, priority 5, KV floor 16 GiB". */
export function askedOf(state: State): string {
  return SETTINGS.filter((field) => state[field] !== null && state[field] !== "")
    .map((field) => settingWords(field, state[field]))
    .join(", ");
}

/** What becomes of a deployment that nobody asks for, step by step. */
export function idleWords(one: DeploymentRow): string[] {
  const step = (words: string, seconds: number | null) =>
    seconds === null ? undefined : `${words} after ${duration(seconds)}`;
  return [
    step(word("sleeps"), one.idle_sleep_seconds),
    step("sleeps at level 2", one.idle_level_2_seconds),
    step("its engine ends", one.idle_stop_seconds),
  ].filter((words) => words !== undefined);
}
