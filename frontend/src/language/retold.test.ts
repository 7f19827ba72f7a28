import { beforeAll, describe, expect, it } from "vitest";
import { retold, retoldFields } from "./retold";
import { learn } from "./told";

describe("what the server sends", () => {
  beforeAll(() => {
    learn({ ready: "bereit", "it is {0}": "Zustand: {0}" }, "und");
  });

  it("is told where it holds sentences, and nowhere else", () => {
    const sent = {
      name: "ready",
      message: "it is ready",
      lines: ["ready", "it is ready"],
      verbs: { sleep: null, wake: "it is ready" },
      labels: { message: "ready" },
      rows: [{ state: "ready", why: "ready", replicas: [{ message: "ready" }] }],
    };
    expect(retold(sent)).toEqual({
      name: "ready",
      message: "Zustand: bereit",
      lines: ["bereit", "Zustand: bereit"],
      verbs: { sleep: null, wake: "Zustand: bereit" },
      labels: { message: "ready" },
      rows: [{ state: "ready", why: "bereit", replicas: [{ message: "bereit" }] }],
    });
  });

  it("has its codes, names and remarks left alone", () => {
    const sent = {
      spans: [{ by: "ready", name: "ready", state: "ready", words: "ready" }],
      cordon: { by: "ready", message: "ready" },
      entries: [{ by: "ready", code: "ready", sentence: "ready" }],
    };
    expect(retold(sent)).toEqual({
      spans: [{ by: "ready", name: "ready", state: "ready", words: "bereit" }],
      cordon: { by: "ready", message: "ready" },
      entries: [{ by: "bereit", code: "ready", sentence: "bereit" }],
    });
  });

  it("is told for every field of a form, in lists too", () => {
    const fields = { kv_cap_bytes: ["it is ready"], states: [{ priority: ["ready"] }] };
    expect(retoldFields(fields)).toEqual({ kv_cap_bytes: ["Zustand: bereit"], states: [{ priority: ["bereit"] }] });
  });
});
