import { describe, expect, it } from "vitest";
import { limitsInShort, quotaDraft, quotaRequest } from "./quota";

describe("limits", () => {
  it("come back from an untouched form as they were", () => {
    const quota = { requests_per_minute: 601, tokens_per_day: 1_234_567, gpu_seconds_per_day: 0.5 };
    expect(quotaRequest(quotaDraft(quota))).toEqual({
      quota: {
        ...quota,
        tokens_per_minute: null,
        concurrent_requests: null,
        tokens_per_month: null,
        gpu_seconds_per_month: null,
      },
      wrong: {},
    });
  });

  it("stand in a form as people write them", () => {
    const draft = quotaDraft({ tokens_per_day: 2_000_000, gpu_seconds_per_day: 5400, gpu_seconds_per_month: 259_200 });
    expect([draft.tokens_per_day, draft.gpu_seconds_per_day, draft.gpu_seconds_per_month]).toEqual([
      "2,000,000",
      "90 min",
      "3 d",
    ]);
  });

  it("are read with units", () => {
    const { quota } = quotaRequest({ ...quotaDraft(), tokens_per_minute: "200k", gpu_seconds_per_month: "1 d" });
    expect([quota.tokens_per_minute, quota.gpu_seconds_per_month]).toEqual([200_000, 86_400]);
  });

  it("say at the field what cannot be read", () => {
    const { wrong } = quotaRequest({
      ...quotaDraft(),
      requests_per_minute: "0",
      tokens_per_day: "2 h",
      gpu_seconds_per_day: "2M",
    });
    expect(Object.keys(wrong)).toEqual(["requests_per_minute", "tokens_per_day", "gpu_seconds_per_day"]);
  });

  it("are short in a list", () => {
    expect(
      limitsInShort({
        requests_per_minute: 600,
        concurrent_requests: 8,
        tokens_per_day: 2_000_000,
        gpu_seconds_per_day: 7200,
      }),
    ).toEqual(["600 requests/min", "2M tokens/day", "2 h GPU/day", "8 at once"]);
    expect(limitsInShort({})).toEqual([]);
  });
});
