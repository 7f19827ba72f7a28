/** Figures for tests. */
import type { Figures, StreamResult, Times } from "../../api/types";

export function times(values: number[], never = 0): Times {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part: number) => sorted[Math.round(part * (values.length - 1))] ?? null;
  const curve = Array.from({ length: 41 }, (_, step) => {
    const rank = (step / 40) * (values.length + never - 1);
    return rank > values.length - 1 ? null : (sorted[Math.round(rank)] ?? null);
  });
  return {
    count: values.length,
    never,
    mean: values.reduce((sum, one) => sum + one, 0) / values.length,
    p50: at(0.5),
    p90: at(0.9),
    p95: at(0.95),
    p99: never ? null : at(0.99),
    max: at(1),
    curve: values.length ? curve : [],
  };
}

export function figures(of: Partial<Figures> = {}): Figures {
  return {
    calls: 10,
    ok: 10,
    failed: {},
    messages: {},
    good: null,
    goodput_ratio: null,
    window_seconds: 5,
    requests_per_second: 2,
    output_tokens_per_second: 40,
    prompt_tokens: 1280,
    completion_tokens: 200,
    unknown_tokens: 0,
    pieces: 200,
    times: { ttft: times([0.1, 0.2, 0.3, 0.4, 0.5]) },
    ...of,
  };
}

export function stream(of: Partial<StreamResult> = {}): StreamResult {
  return {
    deployment: "chat",
    role: "load",
    way: "gateway",
    pattern: "closed",
    began_seconds: 0,
    distinct_prompts_ratio: 1,
    figures: figures(),
    seconds: [
      [2, 0, 0, 0, 0.2],
      [2, 2, 0, 40, null],
    ],
    ...of,
  };
}
