import { describe, expect, it } from "vitest";
import type { Fit, GPUFit } from "../api/types";
import { GIB } from "../live/rows.fake";
import { choiceWords, evictWords, fitWords, kvWords, needWords, sourceWords } from "./fit";

const one = (given: Partial<GPUFit> = {}): GPUFit => ({
  gpu: 1,
  uuid: "a",
  free_bytes: 79 * GIB,
  concurrency: null,
  fits: true,
  code: "",
  why: "",
  evictable: [],
  ...given,
});
const kv = (given: Partial<Fit["kv"]> = {}): Fit["kv"] => ({
  grow_bytes: 128 * 1024,
  fixed_bytes: 0,
  length: 8192,
  sequence_bytes: GIB,
  concurrency: 18,
  unknown: "",
  sources: { grow: "32 with full attention", weights: "the headers of the weight files" },
  ...given,
});
const fit = (given: Partial<Fit> = {}): Fit => ({
  needed_bytes: 18 * GIB + 1,
  weights_bytes: 16 * GIB + 1,
  overhead_bytes: GIB,
  kv_floor_bytes: GIB,
  kv: kv(),
  replicas: 1,
  fits: true,
  code: "",
  why: "",
  gpus: [
    one(),
    one({ gpu: 2 }),
    one({ gpu: 3, fits: false, code: "no_capacity", why: "needs 18.1 GiB", free_bytes: 18 * GIB }),
  ],
  evictable: [],
  ...given,
});
const name = (gpu: number) => `GPU ${gpu}`;

describe("an answer where something fits", () => {
  it("names who would make room, and says when they may not go yet", () => {
    const chat = { replica: 3, name: "chat", freed_bytes: GIB, means: "sleep_1", seconds: 2, why: "idle for 90 s" };
    const now = { ...chat, free_at: new Date(0).toISOString() };
    expect(evictWords(one())).toBeUndefined();
    expect(evictWords(one({ evictable: [now, { ...now, name: "code" }] }))).toBe("puts chat and code to sleep");
    const coder = { ...now, name: "code", means: "stop" };
    expect(evictWords(one({ evictable: [now, coder] }))).toBe(
      "puts chat to sleep and stops code until its next request",
    );
    expect(evictWords(one({ evictable: [{ ...chat, free_at: null }] }))).toBe(
      "puts chat to sleep, once the rules allow it",
    );
  });
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

describe("what sequences take", () => {
  it("is told by the token, by the sequence, and as how many fit at once", () => {
    expect(kvWords(fit())).toBe("KV memory: 128 KiB for each token. At 8,192 tokens each, 18 sequences fit at once.");
    expect(kvWords(fit({ kv: kv({ fixed_bytes: 48 * 1024 * 1024, concurrency: null }) }))).toBe(
      "KV memory: 128 KiB for each token and 48 MiB for each sequence.",
    );
  });

  it("is unknown with the reason where it is not known", () => {
    const why = { unknown: "the architecture mystery is not known here" };
    expect(kvWords(fit({ kv: kv({ ...why, grow_bytes: null, fixed_bytes: null, concurrency: null }) }))).toBe(
      "KV memory of a sequence: unknown, because the architecture mystery is not known here.",
    );
    expect(kvWords(fit({ kv: kv({ ...why, fixed_bytes: null, concurrency: null }) }))).toContain(
      "what a sequence holds besides is unknown, because",
    );
  });

  it("says where each figure comes from", () => {
    expect(sourceWords(fit())).toBe("Each token: 32 with full attention. Weights: the headers of the weight files.");
  });
});
