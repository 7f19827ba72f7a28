/** The server's answer where something fits, in words. Pure; the browser itself decides nothing. */
import type { ErrorCode, Fit, GPUFit } from "../api/types";
import { count, freeBytes, neededBytes, plural } from "../lib/format";

const NEVER_FITS: ErrorCode = "never_fits";

/** "Each replica needs 18 GiB on each of 2 GPUs: ...". */
export function needWords(fit: Fit, width: number): string {
  const where = width > 1 ? ` on each of ${width} GPUs` : "";
  const parts = [
    `${neededBytes(fit.weights_bytes)} of weights`,
    `${neededBytes(fit.overhead_bytes)} of overhead`,
    `${neededBytes(fit.kv_floor_bytes)} of KV memory at least`,
  ];
  return `A replica needs ${neededBytes(fit.needed_bytes)}${where}: ${parts.join(", ")}.`;
}

/** What sequences take of KV memory, and how many of the greatest length fit at once; or why that is unknown. */
export function kvWords({ kv }: Fit): string {
  if (kv.grow_bytes === null) return `KV memory of a sequence: unknown, because ${kv.unknown}.`;
  const held = kv.fixed_bytes ? ` and ${neededBytes(kv.fixed_bytes)} for each sequence` : "";
  const grows = kv.grow_bytes ? `${neededBytes(kv.grow_bytes)} for each token` : "nothing for each token";
  const open = kv.fixed_bytes === null ? `; what a sequence holds besides is unknown, because ${kv.unknown}` : "";
  const length = count(kv.length);
  const many =
    kv.concurrency === null
      ? ""
      : ` At ${length} tokens each, ${plural(kv.concurrency, ["# sequence", "# sequences"])} fit at once.`;
  return `KV memory: ${grows}${held}${open}.${many}`;
}

/** Where the figures come from, one after the other. */
export function sourceWords({ kv }: Fit): string {
  const named = { grow: "Each token", fixed: "Each sequence", weights: "Weights", overhead: "Overhead" } as const;
  return Object.entries(named)
    .filter(([name]) => kv.sources[name])
    .map(([name, title]) => `${title}: ${kv.sources[name]}.`)
    .join(" ");
}

/** Whether as many replicas as are wanted fit now; undefined when none is to be placed. */
export function fitWords(fit: Fit, nameOf: (gpu: number) => string): string | undefined {
  if (fit.replicas === 0) return undefined;
  if (fit.code === NEVER_FITS) return `${fit.why.charAt(0).toUpperCase()}${fit.why.slice(1)}.`;
  if (!fit.fits) return `It does not fit now: ${fit.why}.`;
  if (fit.replicas > 1) return `All ${plural(fit.replicas, ["# replica", "# replicas"])} fit now.`;
  const names = fit.gpus.filter((one) => one.fits).map((one) => nameOf(one.gpu));
  return `It fits now on ${names.length > 1 ? `${names.slice(0, -1).join(", ")} or ${names.at(-1)}` : names.join("")}.`;
}

/** What a choice of this GPU says behind its name. */
export function choiceWords(one: GPUFit): string {
  const room = evictWords(one);
  return `${freeBytes(one.free_bytes)} free${one.fits ? "" : `, ${one.why}`}${room ? `; ${room}` : ""}`;
}

const named = (all: GPUFit["evictable"]): string => all.map((one) => one.name).join(" and ");

/** Who would sleep or stop to make room; undefined where nobody has to, or nobody may. */
export function evictWords({ evictable }: Pick<GPUFit, "evictable">): string | undefined {
  if (!evictable.length) return undefined;
  const later = evictable.some((one) => one.free_at === null || Date.parse(one.free_at) > Date.now() + 1000);
  const stopped = evictable.filter((one) => one.means === "stop");
  const asleep = evictable.filter((one) => one.means !== "stop");
  const what = [
    asleep.length ? `puts ${named(asleep)} to sleep` : "",
    stopped.length ? `stops ${named(stopped)} until its next request` : "",
  ];
  return `${what.filter(Boolean).join(" and ")}${later ? ", once the rules allow it" : ""}`;
}
