import { beforeEach, expect, it, vi } from "vitest";
import { ApiError } from "../api/client";
import { Form } from "./form.svelte";

beforeEach(() => void vi.stubGlobal("document", { querySelector: () => null }));

const refused = (fields: Record<string, unknown>) => () =>
  Promise.reject(new ApiError(400, "invalid_spec", "it was refused", fields));

it("what is said of a field in a list stands there, and not again at the whole", async () => {
  const form = new Form(() => ["states", "states.0.priority", "states.1.priority"]);
  await form.submit({}, refused({ states: [{}, { priority: ["must be a number"] }] }));
  expect(form.wrong).toEqual({ "states.1.priority": "must be a number" });
  expect(form.failure).toBeUndefined();
});

it("what is said of the list itself stands there", async () => {
  const form = new Form(["states", "states.0.priority"]);
  await form.submit({}, refused({ states: ["each deployment comes once"] }));
  expect(form.wrong).toEqual({ states: "each deployment comes once" });
});

it("what is wrong with no field that is shown is said of the form", async () => {
  const form = new Form(["name"]);
  await form.submit({}, refused({ cron: ["no cron"] }));
  expect([form.wrong, form.failure]).toEqual([{}, "it was refused"]);
});
