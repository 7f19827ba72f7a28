import { describe, expect, it } from "vitest";
import type { Runtime } from "../../api/types";
import { hasToken, runtimeDraft, runtimeRequest, withToken } from "./runtimes";

const GPU: Runtime = {
  id: 1,
  name: "vllm-0.30",
  kind: "vllm-cuda",
  executable: "/opt/vllm/bin/vllm",
  version: "0.30.0",
  kvcached: true,
  environment: { HF_TOKEN: "(hidden)", OMP_NUM_THREADS: "4" },
};

describe("a runtime", () => {
  it("comes back from the form as it was, hidden values kept", () => {
    const { id, ...rest } = GPU;
    expect(id).toBe(1);
    expect(runtimeRequest(runtimeDraft(GPU))).toEqual({ request: rest, wrong: {} });
  });

  it("takes another value for a hidden one, and no other hidden text is made up", () => {
    const draft = runtimeDraft(GPU);
    expect(draft.variables).toEqual([
      { name: "HF_TOKEN", value: "", hidden: true },
      { name: "OMP_NUM_THREADS", value: "4", hidden: false },
    ]);
    const [token, threads] = draft.variables;
    draft.variables = [
      { name: "HF_TOKEN", hidden: true, ...token, value: "hf_new" },
      { name: "OMP_NUM_THREADS", hidden: false, ...threads, value: "" },
    ];
    expect(runtimeRequest(draft).request.environment).toEqual({ HF_TOKEN: "hf_new", OMP_NUM_THREADS: "" });
  });

  it("loses a variable whose row is removed", () => {
    const draft = runtimeDraft(GPU);
    draft.variables = draft.variables.slice(1);
    expect(runtimeRequest(draft).request.environment).toEqual({ OMP_NUM_THREADS: "4" });
  });

  it("leaves out a row in which nothing is written", () => {
    const draft = runtimeDraft({ ...GPU, environment: {} });
    draft.variables = [{ name: " ", value: "", hidden: false }];
    expect(runtimeRequest(draft)).toMatchObject({ request: { environment: {} }, wrong: {} });
  });

  it("says what is wrong", () => {
    const draft = runtimeDraft();
    draft.variables = [{ name: "", value: "4", hidden: false }];
    expect(Object.keys(runtimeRequest(draft).wrong)).toEqual(["environment", "name"]);
    draft.variables = ["A", "A"].map((name) => ({ name, value: "1", hidden: false }));
    expect(runtimeRequest(draft).wrong["environment"]).toBe("A stands there twice");
  });
});

describe("a Hub token", () => {
  it("is written beside the other variables", () => {
    expect(withToken(GPU, "hf_new")).toEqual({ environment: { OMP_NUM_THREADS: "4", HF_TOKEN: "hf_new" } });
    expect(withToken(GPU, "")).toEqual({ environment: { OMP_NUM_THREADS: "4" } });
  });

  it("is known to be there", () => {
    expect([hasToken(GPU), hasToken({ ...GPU, environment: {} })]).toEqual([true, false]);
  });
});
