import { describe, expect, it } from "vitest";
import { GIB, deployment } from "../live/rows.fake";
import { draft, fitQuery, NEW, nameFrom, QUEUE_LIMIT, request } from "./draft";

describe("the deploy form", () => {
  it("asks for a name and a model", () => {
    expect(request(draft()).wrong).toEqual({ name: "give it a name", model: "choose a model" });
  });

  it("turns text into bytes, numbers and words", () => {
    const filled = {
      ...draft(),
      name: " chat ",
      model: "3",
      weights_bytes: "16 GiB",
      max_model_len: "8192",
      extra_args: "--a 'b c'",
    };
    const { request: made, wrong } = request(filled);
    expect(wrong).toEqual({});
    expect(made).toMatchObject({
      name: "chat",
      model: 3,
      weights_bytes: 16 * GIB,
      max_model_len: 8192,
      extra_args: ["--a", "b c"],
    });
    expect(made.kv_cap_bytes).toBeNull();
    expect(made).not.toHaveProperty("served_name");
  });

  it("says at the field what cannot be read", () => {
    const { wrong } = request({ ...draft(), name: "a", model: "1", weights_bytes: "big", idle_sleep_seconds: "-1" });
    expect(Object.keys(wrong)).toEqual(["weights_bytes", "idle_sleep_seconds"]);
  });

  it("keeps exact bytes that nobody touched", () => {
    const row = deployment({ weights_bytes: 16 * GIB + 1, kv_cap_bytes: 2 * GIB, extra_args: ["--a", "b c", ""] });
    const { request: made } = request({ ...draft(row), kv_cap_bytes: "" }, row);
    expect(made).not.toHaveProperty("weights_bytes");
    expect(made.kv_cap_bytes).toBeNull();
    expect(made.extra_args).toEqual(row.extra_args);
  });

  it("says the KV weight, one where nobody chose it", () => {
    const row = deployment({ kv_weight: 7 });
    expect(request(draft()).request.kv_weight).toBe(1);
    expect(request({ ...draft(row), kv_weight: 9 }, row).request.kv_weight).toBe(9);
    expect(request(draft(row), row).request.kv_weight).toBe(7);
  });

  it("holds the queue: empty is as usual, zero is zero", () => {
    const row = deployment({ queue_limit: 0, queue_seconds: 0, max_concurrency: 32, prefix_affinity: true });
    expect(request(draft(row), row).request).toMatchObject({
      queue_limit: 0,
      queue_seconds: 0,
      max_concurrency: 32,
      prefix_affinity: true,
    });
    expect(request(draft()).request).toMatchObject({
      queue_limit: QUEUE_LIMIT,
      queue_seconds: null,
      max_concurrency: null,
      prefix_affinity: false,
    });
    const { wrong } = request({ ...draft(row), queue_limit: "-1", queue_seconds: "soon", max_concurrency: "1.5" }, row);
    expect(Object.keys(wrong)).toEqual(["max_concurrency", "queue_limit", "queue_seconds"]);
  });

  it("asks where it fits as soon as it says of which model, and leaves out what cannot be read", () => {
    expect(fitQuery(draft())).toBeUndefined();
    expect(fitQuery({ ...draft(), model: NEW })).toBeUndefined();
    const query = fitQuery({
      ...draft(),
      model: NEW,
      source: " org/name ",
      revision: "main",
      weights_bytes: "16 GiB",
      kv_floor_bytes: "big",
      extra_args: "--a 'b c'",
    });
    const told = [...new URLSearchParams(query)];
    expect(told).toEqual([
      ["source", "org/name"],
      ["revision", "main"],
      ["replicas", "1"],
      ["tensor_parallel", "1"],
      ["weights_bytes", String(16 * GIB)],
      ["extra_args", "--a"],
      ["extra_args", "b c"],
    ]);
  });

  it("asks for the replicas that an edit adds, with exact bytes that nobody touched", () => {
    const row = deployment({ id: 7, replicas: 1, placed: 1, weights_bytes: 16 * GIB + 1 });
    const told = new URLSearchParams(fitQuery({ ...draft(row), replicas: 3 }, row));
    expect([told.get("deployment"), told.get("replicas"), told.get("weights_bytes")]).toEqual([
      "7",
      "2",
      String(16 * GIB + 1),
    ]);
    expect(new URLSearchParams(fitQuery({ ...draft(row), weights_bytes: "2 GiB" }, row)).get("weights_bytes")).toBe(
      String(2 * GIB),
    );
  });

  it("asks for a new model and its placing in the same request, so that a refusal leaves nothing", () => {
    const filled = { ...draft(), name: "chat", model: NEW, source: " org/name ", revision: "main", gpu: "GPU-1" };
    expect(request(filled).request).toMatchObject({ source: "org/name", revision: "main", deploy: true, gpu: "GPU-1" });
    expect(request(filled).request).not.toHaveProperty("model");
    expect(request({ ...filled, source: " " }).wrong).toEqual({ source: "give a folder or an id" });
  });

  it("places what an edit adds, and only then", () => {
    const row = deployment({ replicas: 1 });
    expect(request({ ...draft(row), replicas: 3 }, row).request).toMatchObject({ replicas: 3, deploy: true });
    expect(request({ ...draft(row), priority: 2 }, row).request).toMatchObject({ priority: 2, deploy: false });
  });

  it("proposes a name", () => {
    expect(nameFrom("meta-llama/Llama 3.1/")).toBe("llama-3.1");
    expect(nameFrom("///")).toBe("");
  });
});
