import { expect, it } from "vitest";
import { shell, snippets } from "./snippets";

it("every snippet asks this model at this gateway with the reader's key", () => {
  for (const { title, text } of snippets("org/chat", "http://here:8001")) {
    expect(text, title).toContain("org/chat");
    expect(text, title).toContain("http://here:8001");
    expect(text, title).toContain("SARDEENZ_API_KEY");
  }
});

it("a command keeps its words", () => {
  expect(shell(["vllm", "serve", "/m x", '--a={"b": 1}', "it's"])).toBe(`vllm serve '/m x' '--a={"b": 1}' 'it'\\''s'`);
});
