/** What /ws/telemetry tells: the newest frame of every node, and rates that take two frames to know. Pure. */
import type { EngineFrame, Frame } from "../api/types";

const RATE_SECONDS = 5;
const HISTORY_FRAMES = 60;

/** One engine's token counter at one instant. */
interface Sample {
  readonly seq: number;
  readonly tokens: number;
}

export interface Telemetry {
  readonly frames: ReadonlyMap<string, Frame>;
  readonly samples: ReadonlyMap<string, readonly Sample[]>;
  /** The last minute of each GPU's utilisation, null where it did not tell. */
  readonly utilization: ReadonlyMap<string, readonly (number | null)[]>;
}

export type TelemetryFrame = { type: "snapshot"; frames: Frame[] } | { type: "frame"; frame: Frame };

export const NO_TELEMETRY: Telemetry = { frames: new Map(), samples: new Map(), utilization: new Map() };

/** Telemetry after one more message; a frame that is not newer than its node's changes nothing. */
export function applyTelemetry(telemetry: Telemetry, message: TelemetryFrame): Telemetry {
  if (message.type === "snapshot") return message.frames.reduce(take, telemetry);
  return message.type === "frame" ? take(telemetry, message.frame) : telemetry;
}

function take(telemetry: Telemetry, frame: Frame): Telemetry {
  const held = telemetry.frames.get(frame.node);
  if (held !== undefined && frame.seq <= held.seq) return telemetry;
  const gone = new Set(held?.engines.map((engine) => engine.marker));
  const samples = new Map(telemetry.samples);
  for (const engine of frame.engines) {
    gone.delete(engine.marker);
    samples.set(engine.marker, sampled(samples.get(engine.marker) ?? [], frame.seq, engine));
  }
  for (const marker of gone) samples.delete(marker);
  const utilization = new Map(telemetry.utilization);
  for (const gpu of frame.gpus) {
    const past = utilization.get(gpu.uuid) ?? [];
    utilization.set(gpu.uuid, [...past, gpu.utilization_ratio].slice(-HISTORY_FRAMES));
  }
  return { frames: new Map(telemetry.frames).set(frame.node, frame), samples, utilization };
}

function sampled(past: readonly Sample[], seq: number, engine: EngineFrame): readonly Sample[] {
  const tokens = engine.generation_tokens;
  if (tokens === null) return past; // it did not answer in time; the next answer makes up for it
  const last = past.at(-1);
  const kept = last !== undefined && tokens < last.tokens ? [] : past; // a counter that fell has begun anew
  const oldest = seq - RATE_SECONDS * 1000;
  return [...kept.filter((sample) => sample.seq >= oldest), { seq, tokens }];
}

/** Generated tokens per second of one engine over the last seconds; undefined until two frames told. */
export function tokensPerSecond(telemetry: Telemetry, marker: string): number | undefined {
  const samples = telemetry.samples.get(marker);
  const first = samples?.at(0);
  const last = samples?.at(-1);
  if (first === undefined || last === undefined || last.seq === first.seq) return undefined;
  return ((last.tokens - first.tokens) / (last.seq - first.seq)) * 1000;
}

/** The engine with this marker, wherever it runs. */
export function engineOf(telemetry: Telemetry, marker: string): EngineFrame | undefined {
  for (const frame of telemetry.frames.values()) {
    const found = frame.engines.find((engine) => engine.marker === marker);
    if (found !== undefined) return found;
  }
  return undefined;
}
