/** Rows of usage for tests: what is not said is zero. */
import type { HoursRow, Sums } from "../../api/types";

export const NO_SUMS: Sums = {
  calls: 0,
  failed: 0,
  cancelled: 0,
  prompt_tokens: 0,
  cached_tokens: 0,
  completion_tokens: 0,
  wake_seconds: 0,
  queue_seconds: 0,
  e2e_seconds: 0,
  gpu_seconds: 0,
  ttft_p50_seconds: null,
  ttft_p95_seconds: null,
  e2e_p50_seconds: null,
  e2e_p95_seconds: null,
};

export function hoursRow(given: Partial<HoursRow> = {}): HoursRow {
  return { ...NO_SUMS, calls: 1, served_name: "chat", ...given };
}
