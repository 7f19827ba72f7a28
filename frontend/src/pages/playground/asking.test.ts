import { describe, expect, it } from "vitest";
import { asked } from "./answer";
import { allRight, body, namedTools, settingsFromQuery, settingsToQuery, wrong, type Turn } from "./asking";

const QUERY = "model=chat&model=code&temperature=0.2&max_tokens=64&tool_choice=required&system=Be+brief&prompt=Why%3F";
const EMPTY = settingsFromQuery("");
const PIXEL = "data:image/png;base64,AAAA";

describe("the address", () => {
  it("tells everything that is set, and is read back", () => {
    const settings = settingsFromQuery(`?${QUERY}`);
    expect(settings.models).toEqual(["chat", "code"]);
    expect(settingsFromQuery(settingsToQuery(settings))).toEqual(settings);
  });
  it("has four models at most, and one pane without any", () => {
    expect(settingsFromQuery("model=a&model=b&model=c&model=d&model=e").models).toHaveLength(4);
    expect([EMPTY.models, settingsToQuery(EMPTY)]).toEqual([[""], ""]);
  });
  it("leaves out a long prompt", () => expect(settingsToQuery({ ...EMPTY, prompt: "x".repeat(2000) })).toBe(""));
});

it.each([
  ["temperature", "2.5", "from 0 to 2"],
  ["temperature", "warm", "is a number"],
  ["maxTokens", "1.5", "whole number"],
  ["topP", "0.5", undefined],
  ["tools", "{}", "JSON list"],
  ["tools", "[]", undefined],
] as const)("%s of %s: %s", (field, text, words) => {
  const settings = { ...EMPTY, [field]: text };
  const said = wrong(settings, field);
  if (words === undefined) expect(said).toBeUndefined();
  else expect(said).toContain(words);
  expect(allRight(settings)).toBe(words === undefined);
});

describe("a request", () => {
  const settings = { ...settingsFromQuery(QUERY), tools: '[{"type":"function"}]' };
  const turn = (text: string, phase: "done" | "asked"): Turn => ({
    prompt: "before",
    images: [],
    reply: { ...asked(0), phase, text },
  });

  it("has the system prompt, the turns before, and what is set", () => {
    expect(body("chat", settings, [turn("yes", "done"), turn("", "done"), turn("half", "asked")], [])).toEqual({
      model: "chat",
      messages: [
        { role: "system", content: "Be brief" },
        { role: "user", content: "before" },
        { role: "assistant", content: "yes" },
        { role: "user", content: "Why?" },
      ],
      temperature: 0.2,
      max_tokens: 64,
      tools: [{ type: "function" }],
      tool_choice: "required",
    });
  });
  it("says which tool is to be called, as long as there is such a tool", () => {
    const tools = JSON.stringify([
      { type: "function", function: { name: "weather" } },
      { type: "function" },
      null,
      { type: "function", function: { name: "weather" } },
    ]);
    const asks = (toolChoice: string, of = tools) => body("chat", { ...EMPTY, tools: of, toolChoice }, [], []);
    expect(namedTools({ ...EMPTY, tools })).toEqual([["function:weather", "weather"]]);
    expect(asks("required")).toMatchObject({ tool_choice: "required" });
    expect(asks("function:weather")).toMatchObject({
      tool_choice: { type: "function", function: { name: "weather" } },
    });
    for (const [choice, of] of [
      ["", tools],
      ["function:gone", tools],
      ["required", "[]"],
      ["auto", ""],
    ] as const)
      expect(asks(choice, of)).not.toHaveProperty("tool_choice");
  });
  it("has pictures beside the prompt, and nothing that was left empty", () =>
    expect(body("chat", { ...EMPTY, prompt: "what?" }, [], [PIXEL])).toEqual({
      model: "chat",
      messages: [
        {
          role: "user",
          content: [
            { type: "text", text: "what?" },
            { type: "image_url", image_url: { url: PIXEL } },
          ],
        },
      ],
    }));
});
