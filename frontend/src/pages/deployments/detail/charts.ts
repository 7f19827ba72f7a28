/** What a deployment did, as charts take it. Pure. */
import { word } from "../../../language/word";
import type { History, Speed } from "../../../api/types";
import { bytes, percent, rate, span } from "../../../lib/format";
import type { Drawing, Layer } from "../../../charts/drawing";
import { line, sentence, withGaps } from "../../history/history";

type Values = Layer["values"];

/** Of its engines, as their nodes read them. */
export function ofEngines(history: History): Drawing[] {
  const at = seconds(history.at);
  const mean = (field: string): Values => history.mean[field] ?? at.map(() => null);
  const most = (field: string): Values => history.greatest[field] ?? mean(field);
  return known(history.step_seconds, [
    line("Tokens per second", at, mean("tokens_per_second"), undefined, rate, most("tokens_per_second")),
    lines("Calls in engines", at, rate, [
      { name: word("running"), colour: "--accent", values: mean("running") },
      { name: word("waiting"), colour: "--brass", values: mean("waiting") },
    ]),
    lines("KV memory", at, bytes, [
      { name: "in use", colour: "--accent", values: mean("kv_mapped_bytes") },
      { name: word("limit"), colour: "--brass", values: mean("kv_limit_bytes") },
    ]),
    line("KV cache filled", at, mean("kv_usage_ratio"), 1, percent, most("kv_usage_ratio")),
    line("GPU memory held", at, mean("memory_bytes"), undefined, bytes, most("memory_bytes")),
  ]);
}

/** Of its calls, as the gateways answered them. */
export function ofCalls(speed: Speed): Drawing[] {
  const at = seconds(speed.at);
  const told = (field: string): Values => speed.values[field] ?? at.map(() => null);
  return known(speed.step_seconds, [
    lines("Time to first token", at, span, [
      { name: "of half", colour: "--accent", values: told("ttft_p50_seconds") },
      { name: "of 95 %", colour: "--brass", values: told("ttft_p95_seconds") },
    ]),
    lines("Waited, 95 %", at, span, [
      { name: "for a seat", colour: "--accent", values: told("queue_p95_seconds") },
      { name: "for the model", colour: "--brass", values: told("wake_p95_seconds") },
    ]),
    lines("Calls per second", at, rate, [
      { name: word("all"), colour: "--accent", values: told("calls_per_second") },
      { name: word("failed"), colour: "--bad", values: told("failed_per_second") },
    ]),
  ]);
}

export function lines(title: string, at: number[], show: (value: number) => string, layers: Layer[]): Drawing {
  const words = layers.map((layer) => sentence(`${title}, ${layer.name}`, layer.values, show)).join(" ");
  return { title, at, layers, stacked: false, top: undefined, show, words };
}

export const seconds = (moments: readonly string[]) => moments.map((each) => Date.parse(each) / 1000);

/** Those of which something is known. */
export function known(stepSeconds: number, drawings: Drawing[]): Drawing[] {
  return drawings
    .filter(({ layers }) => layers.some(({ values }) => values.some((value) => value !== null)))
    .map((drawing) => withGaps(drawing, stepSeconds));
}
