import { describe, expect, it } from "vitest";
import type { Fit, GPUFit } from "../api/types";
import { GIB } from "../live/rows.fake";
import { choiceWords, fitWords, needWords } from "./fit";

const one = (given: Partial<GPUFit> = {}): GPUFit => ({
  gpu: 1,
  uuid: "a",
  free_bytes: 79 * GIB,
  fits: true,
  code: "",
  why: "",
  ...given,
});
const fit = (given: Partial<Fit> = {}): Fit => ({
  needed_bytes: 18 * GIB + 1,
  weights_bytes: 16 * GIB + 1,
  overhead_bytes: GIB,
  kv_floor_bytes: GIB,
  replicas: 1,
  fits: true,
  code: "",
  why: "",
  gpus: [
    one(),
    one({ gpu: 2 }),
    one({ gpu: 3, fits: false, code: "no_capacity", why: "needs 18.1 GiB", free_bytes: 18 * GIB }),
  ],
  ...given,
});
const name = (gpu: number) => `GPU ${gpu}`;

describe("an answer where something fits", () => {
  it("says what a replica needs, rounded up", () => {
    expect(needWords(fit(), 1)).toBe(
      "A replica needs 18.1 GiB: 16.1 GiB of weights, 1 GiB of overhead, 1 GiB of KV memory at least.",
    );
    expect(needWords(fit(), 2)).toContain("18.1 GiB on each of 2 GPUs: ");
  });

  it("names the GPUs that have room", () => {
    expect(fitWords(fit(), name)).toBe("It fits now on GPU 1 or GPU 2.");
    expect(fitWords(fit({ gpus: [one()] }), name)).toBe("It fits now on GPU 1.");
    expect(fitWords(fit({ replicas: 3 }), name)).toBe("All 3 replicas fit now.");
  });

  it("gives the server's reason, and is silent when nothing is to be placed", () => {
    expect(fitWords(fit({ fits: false, why: "18.1 GiB are needed, GPU 0 of n has 2 GiB free" }), name)).toBe(
      "It does not fit now: 18.1 GiB are needed, GPU 0 of n has 2 GiB free.",
    );
    expect(
      fitWords(fit({ fits: false, code: "never_fits", why: "it can never fit: the largest GPU has 79 GiB" }), name),
    ).toBe("It can never fit: the largest GPU has 79 GiB.");
    expect(fitWords(fit({ replicas: 0 }), name)).toBeUndefined();
  });

  it("never shows as much free as is needed where it is less", () => {
    expect(choiceWords(one({ free_bytes: 18.09 * GIB, fits: false, why: "needs 18.1 GiB" }))).toBe(
      "18 GiB free, needs 18.1 GiB",
    );
    expect(choiceWords(one())).toBe("79 GiB free");
  });
});
