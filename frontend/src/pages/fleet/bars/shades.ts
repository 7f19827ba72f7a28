/** Where the next change by the clock would reserve another sum. Pure. */
import type { Ahead } from "../../../api/types";
import { bytes, clock, zone } from "../../../lib/format";

export interface Shade {
  readonly bytes: number;
  readonly words: string;
}

/** By the UUIDs of the GPUs whose reserved memory would be another. */
export function shadesOf(found: Pick<Ahead, "at" | "outcome"> | undefined): Map<string, Shade> {
  const changed = (found?.outcome.gpus ?? []).filter((gpu) => gpu.reserved_before_bytes !== gpu.reserved_after_bytes);
  return new Map(
    changed.map((gpu) => [
      gpu.uuid,
      {
        bytes: gpu.reserved_after_bytes,
        words: `${bytes(gpu.reserved_after_bytes)} reserved from ${clock(found?.at ?? "", zone())} on, by the clock`,
      },
    ]),
  );
}
