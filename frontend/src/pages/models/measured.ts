/** Measured kinds of replicas in words. Pure. */
import type { Profile } from "../../api/types";
import { bytes, finePercent } from "../../lib/format";

/** What it was beside what was expected: "34.2 GiB, 0.2 GiB (0.6 %) more than expected". */
export function measured(one: Profile, what: "weights" | "overhead"): string {
  const found = one[`${what}_bytes`];
  const expected = one[`expected_${what}_bytes`];
  if (one.simulated) return `${bytes(found)}, pretended`;
  if (!expected) return bytes(found);
  const more = found - expected;
  if (more === 0) return `${bytes(found)}, as expected`;
  const [by, part] = [bytes(Math.abs(more)), finePercent(Math.abs(more) / expected)];
  return more > 0
    ? `${bytes(found)}, ${by} (${part}) more than expected`
    : `${bytes(found)}, ${by} (${part}) less than expected`;
}

/** What tells it from others of the same model. */
export function kindWords(one: Profile, number: (value: number) => string): string {
  return [
    one.revision && `revision ${one.revision}`,
    one.version && `engine ${one.version}`,
    one.max_model_len !== null && `${number(one.max_model_len)} tokens`,
    one.tensor_parallel > 1 && `on ${one.tensor_parallel} GPUs`,
    one.extra_args.length > 0 && one.extra_args.join(" "),
  ]
    .filter(Boolean)
    .join(", ");
}
