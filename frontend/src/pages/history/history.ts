/** What a history says, as a chart takes it. Pure. */
import type { History } from "../../api/types";
import type { Drawing, Layer, Values } from "../../charts/drawing";
import { bytes, celsius, percent } from "../../lib/format";
import { PARTS } from "../../lib/words";

export type Range = "1" | "6" | "24" | "168" | "720";
export const RANGES: Record<Range, string> = {
  "1": "1 hour",
  "6": "6 hours",
  "24": "1 day",
  "168": "7 days",
  "720": "30 days",
};

const STACK: readonly (readonly [field: string, name: string, colour: string])[] = [
  ["weights_bytes", PARTS.weights, "--accent"],
  ["overhead_bytes", PARTS.overhead, "--muted"],
  ["kv_mapped_bytes", PARTS.used, "--brass"],
  ["kv_kept_bytes", PARTS.kept, "--brass-mid"],
  ["asleep_bytes", PARTS.asleep, "--calm"],
  ["orphan_bytes", PARTS.orphan, "--bad"],
  ["foreign_bytes", PARTS.foreign, "--foreign"],
];

/** The charts of a GPU: those of which something is known. */
export function ofGpu(history: History, totalBytes: number): Drawing[] {
  const at = history.at.map((each) => Date.parse(each) / 1000);
  const mean = (field: string): Values => history.mean[field] ?? at.map(() => null);
  const drawings: Drawing[] = [
    { ...memory(at, mean), top: totalBytes },
    line("Utilisation", at, mean("utilization_ratio"), 1, percent, history.greatest["utilization_ratio"]),
    line("Temperature", at, mean("temperature_celsius"), undefined, celsius, history.greatest["temperature_celsius"]),
    line(
      "Power",
      at,
      mean("power_watts"),
      undefined,
      (watts) => `${Math.round(watts)} W`,
      history.greatest["power_watts"],
    ),
  ];
  return drawings
    .filter((drawing) => drawing.layers.some((layer) => layer.values.some((value) => value !== null)))
    .map((drawing) => withGaps(drawing, history.step_seconds));
}

function memory(at: number[], mean: (field: string) => Values): Omit<Drawing, "top"> {
  const parts = STACK.map(([field, name, colour]) => ({ name, colour, values: mean(field) })).filter((part) =>
    part.values.some((value) => value),
  );
  const used = mean("memory_used_bytes");
  const told = parts.length > 0;
  return {
    title: "Memory",
    at,
    layers: told ? sums(parts) : [{ name: "in use", colour: "--accent", values: used }],
    stacked: true,
    show: bytes,
    words: sentence("Memory in use", used, bytes),
  };
}

/** Each layer on those below it; unknown where one below is unknown. */
function sums(parts: Layer[]): Layer[] {
  let below: Values = parts[0]?.values.map(() => 0) ?? [];
  return parts.map((part) => {
    below = part.values.map((value, index) => {
      const under = below[index] ?? null;
      return value === null || under === null ? null : under + value;
    });
    return { ...part, values: below };
  });
}

/** One line over time, with its mean and greatest value in words. */
export function line(
  title: string,
  at: number[],
  values: Values,
  top: number | undefined,
  show: (value: number) => string,
  greatest: Values = values,
): Drawing {
  return {
    title,
    at,
    layers: [{ name: title, colour: "--accent", values }],
    stacked: false,
    top,
    show,
    words: sentence(title, values, show, greatest),
  };
}

export function sentence(
  title: string,
  values: Values,
  show: (value: number) => string,
  greatest: Values = values,
): string {
  const told = values.filter((value) => value !== null);
  const most = greatest.filter((value) => value !== null);
  if (!told.length) return `${title}: nothing was told.`;
  const mean = told.reduce((sum, value) => sum + value, 0) / told.length;
  return `${title}: ${show(mean)} on average, ${show(Math.max(...most))} at most.`;
}

/** A line must not cross the time of which nothing is known: an unknown instant stands in each such gap. */
export function withGaps(drawing: Drawing, stepSeconds: number): Drawing {
  const at: number[] = [];
  const kept: number[] = [];
  drawing.at.forEach((each, index) => {
    const before = drawing.at[index - 1];
    if (before !== undefined && each - before > 1.5 * stepSeconds) {
      at.push(before + stepSeconds);
      kept.push(-1);
    }
    at.push(each);
    kept.push(index);
  });
  const layers = drawing.layers.map((layer) => ({
    ...layer,
    values: kept.map((index) => layer.values[index] ?? null),
  }));
  return { ...drawing, at, layers };
}
