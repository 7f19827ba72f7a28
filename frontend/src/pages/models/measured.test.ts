import { expect, it } from "vitest";
import type { Profile } from "../../api/types";
import { GIB } from "../../live/rows.fake";
import { kindWords, measured } from "./measured";

const ROW = {
  revision: "",
  version: "0.11.2",
  max_model_len: 32768,
  tensor_parallel: 2,
  extra_args: ["--dtype", "half"],
  simulated: false,
  weights_bytes: 34 * GIB,
  expected_weights_bytes: 32 * GIB,
  overhead_bytes: GIB,
  expected_overhead_bytes: null,
} as unknown as Profile;

it("what was measured is told beside what was expected", () => {
  expect(measured(ROW, "weights")).toBe("34 GiB, 2 GiB (6.3 %) more than expected");
  expect(measured({ ...ROW, weights_bytes: 30 * GIB }, "weights")).toBe("30 GiB, 2 GiB (6.3 %) less than expected");
  expect(measured({ ...ROW, weights_bytes: 32 * GIB }, "weights")).toBe("32 GiB, as expected");
  expect(measured(ROW, "overhead")).toBe("1 GiB");
});

it("what is simulated is told as such", () => {
  expect(measured({ ...ROW, simulated: true }, "weights")).toBe("34 GiB, pretended");
});

it("a kind is told by what it differs in", () => {
  expect(kindWords(ROW, String)).toBe("engine 0.11.2, 32768 tokens, on 2 GPUs, --dtype half");
});
