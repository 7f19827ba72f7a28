/** Sums over time as stacked bars: what is on top, what is the rest, where lines go. Pure. */
import type { HoursRow, Sums } from "../../api/types";
import { hue } from "../../lib/hue";
import { compact, day, duration, hourOf } from "../../lib/format";
import { DAY, groupId, HOUR, type Bounds, type Group, type GroupSums } from "./usage";

export const MEASURES = {
  calls: { word: "Calls", of: (sums: Sums) => sums.calls, text: compact },
  failed: { word: "Failed calls", of: (sums: Sums) => sums.failed, text: compact },
  tokens: { word: "Tokens", of: (sums: Sums) => sums.prompt_tokens + sums.completion_tokens, text: compact },
  completion: { word: "Completion tokens", of: (sums: Sums) => sums.completion_tokens, text: compact },
  gpu: { word: "GPU time", of: (sums: Sums) => sums.gpu_seconds, text: duration },
} as const;
export type Measure = keyof typeof MEASURES;

const SHOWN = 8;
const OTHER = " others"; // no served name has a space

/** One colour of the chart: a group, or all that are too small to have one. */
export interface Series {
  readonly id: string;
  readonly name: string;
  /** Undefined is grey: nobody's, or others'. */
  readonly hue: number | undefined;
  readonly total: number;
}

/** The largest groups, then one for all others. `hueOf` an id says its colour where it has one already. */
export function series(
  groups: readonly GroupSums[],
  measure: Measure,
  hueOf: (id: string) => number,
  most = SHOWN,
): Series[] {
  const { of } = MEASURES[measure];
  const used = groups
    .filter((group) => of(group) > 0)
    .toSorted((a, b) => of(b) - of(a) || a.name.localeCompare(b.name));
  const [shown, rest] = used.length > most ? [used.slice(0, most - 1), used.slice(most - 1)] : [used, []];
  const hues = apart(shown.map((group) => group.id).filter(Boolean), hueOf);
  const made: Series[] = shown.map((group) => ({
    id: group.id,
    name: group.name,
    hue: hues.get(group.id),
    total: of(group),
  }));
  if (!rest.length) return made;
  const total = rest.reduce((sum, group) => sum + of(group), 0);
  return [...made, { id: OTHER, name: `${rest.length} others`, hue: undefined, total }];
}

const NEAR_DEGREES = 20;

/** A hue for each id. Whose own is too near another's gets the next that is not; ids are asked in order, so that hues stay. */
function apart(ids: readonly string[], hueOf: (id: string) => number): Map<string, number> {
  const found = new Map<string, number>();
  for (const id of ids.toSorted((a, b) => a.localeCompare(b, "en", { numeric: true }))) {
    const start = hueOf(id);
    const steps = Array.from({ length: 18 }, (_, step) => (start + step * NEAR_DEGREES) % 360);
    found.set(
      id,
      steps.find((one) => [...found.values()].every((other) => distance(one, other) >= NEAR_DEGREES)) ?? start,
    );
  }
  return found;
}

function distance(a: number, b: number): number {
  return Math.min(Math.abs(a - b), 360 - Math.abs(a - b));
}

/** A number for `hue` from a name, the same each time. */
export function hueOfName(name: string): number {
  return hue([...name].reduce((sum, letter) => (sum * 31 + (letter.codePointAt(0) ?? 0)) % 997, 7));
}

export interface Bar {
  readonly at: number;
  readonly total: number;
  /** In the order of the series, zeros too. */
  readonly values: readonly number[];
}

/** One bar for each step of the span, whether or not there are rows for it. */
export function bars(
  rows: readonly HoursRow[],
  within: Bounds,
  by: Group,
  shown: readonly Series[],
  measure: Measure,
): Bar[] {
  const { of } = MEASURES[measure];
  const places = new Map(shown.map((one, index) => [one.id, index]));
  const others = shown.findIndex((one) => one.id === OTHER);
  const steps = Math.ceil((within.until - within.since) / within.step);
  const values = Array.from({ length: steps }, () => shown.map(() => 0));
  for (const row of rows) {
    const column = values[Math.floor((instant(row) - within.since) / within.step)];
    const place = places.get(groupId(row, by)) ?? others;
    if (column?.[place] !== undefined) column[place] += of(row);
  }
  return values.map((column, step) => ({
    at: within.since + step * within.step,
    total: column.reduce((sum, value) => sum + value, 0),
    values: column,
  }));
}

function instant(row: HoursRow): number {
  return Date.parse(row.hour ?? `${row.day}T00:00:00Z`);
}

/** What a bar stands for: "31 Jan, 14:00", "31 Jan", "31 Jan – 6 Feb". */
export function barName(at: number, within: Bounds): string {
  if (within.step === HOUR) return `${day(at)}, ${hourOf(at)} – ${hourOf(at + HOUR)}`;
  if (within.step === DAY) return day(at);
  return `${day(at)} – ${day(Math.min(at + within.step, within.until) - DAY)}`;
}

/** What stands under a bar; midnight is told by its day. */
export function barLabel(at: number, within: Bounds): string {
  return within.step === HOUR && at % DAY !== 0 ? hourOf(at) : day(at);
}

/** The bars that get a label where `width` has room for `each`: round hours, or counted back from the last day. */
export function labelled(count: number, within: Bounds, width: number, each: number): (index: number) => boolean {
  const fits = Math.max(1, Math.ceil((count * each) / Math.max(width, 1)));
  if (within.step !== HOUR) return (index) => (count - 1 - index) % fits === 0;
  const hours = [1, 2, 3, 4, 6, 12, 24, 48].find((step) => step >= fits) ?? 72;
  return (index) => Math.round(within.since / HOUR + index) % hours === 0;
}

const COUNT_STEPS = [1, 2, 5, 10] as const;
const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400];

/** Where lines go behind the bars: from 0 to at least `most`, at round values. */
export function ticks(most: number, measure: Measure, lines = 4): number[] {
  const rough = Math.max(most, measure === "gpu" ? lines : 1) / lines;
  const power = 10 ** Math.max(0, Math.floor(Math.log10(rough)));
  const counted = power * (COUNT_STEPS.find((step) => step * power >= rough) ?? 10);
  const days = Math.ceil(rough / 86_400) * 86_400;
  const step = measure === "gpu" ? (TIME_STEPS.find((one) => one >= rough) ?? days) : counted;
  return Array.from({ length: Math.max(1, Math.ceil(most / step)) + 1 }, (_, index) => index * step);
}
