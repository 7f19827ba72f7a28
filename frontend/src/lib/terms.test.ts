import { expect, it } from "vitest";
import { TERMS, termsWith } from "./terms";

it("finds a term by its word, then by its meaning", () => {
  expect(termsWith(" orphan ").map(({ word }) => word)).toEqual(["Orphan"]);
  expect(termsWith("cuda context").map(({ word }) => word)).toEqual(["Overhead", "Kept while asleep"]);
  expect(termsWith("")).toHaveLength(TERMS.length);
  expect(termsWith("no such thing")).toEqual([]);
});

it("tells each once, as a sentence", () => {
  expect(new Set(TERMS.map(({ word }) => word)).size).toBe(TERMS.length);
  expect(TERMS.filter(({ about }) => !about.endsWith("."))).toEqual([]);
});
