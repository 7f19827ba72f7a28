import { expect, it } from "vitest";
import { after, asked, ended, stopped, tokensPerSecond, ttft, type Reply } from "./answer";

const event = (data: unknown, name = "message") => ({ event: name, data: JSON.stringify(data), comment: "" });
const delta = (told: object, finish: string | null = null) =>
  event({ choices: [{ index: 0, delta: told, finish_reason: finish }] });
const DONE = { event: "message", data: "[DONE]", comment: "" };

function fold(...told: [ReturnType<typeof event>, number][]): Reply {
  return told.reduce((reply, [one, now]) => after(reply, one, now), asked(1000));
}

it("tells the time to the first token and the tokens per second", () => {
  const reply = fold(
    [delta({ role: "assistant", content: "" }), 1100],
    [delta({ content: "Sar" }), 1500],
    [delta({ content: "dines" }, "length"), 2500],
    [event({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 11 } }), 2500],
  );
  expect([reply.phase, reply.text, reply.finish]).toEqual(["answering", "Sardines", "length"]);
  expect([ttft(reply), tokensPerSecond(reply)]).toEqual([0.5, 10]);
  expect(after(reply, DONE, 2500).phase).toBe("done");
});

it("says what it waits for until something comes", () => {
  const waiting = after(asked(0), { event: "message", data: "", comment: "waiting for the model, it wakes" }, 5000);
  expect([waiting.phase, waiting.waiting]).toEqual(["asked", "waiting for the model, it wakes"]);
  expect(after(waiting, delta({ content: "x" }), 6000).waiting).toBe("");
});

it("puts tool calls and reasoning together", () => {
  const part = (index: number, name: string | null, given: string) =>
    delta({ tool_calls: [{ index, function: { name, arguments: given } }] });
  const reply = fold(
    [delta({ reasoning: "Let me " }), 1],
    [delta({ reasoning_content: "see." }), 2],
    [part(0, "look", '{"a":'), 3],
    [part(1, "find", "{}"), 4],
    [part(0, null, "1}"), 5],
  );
  expect(reply.reasoning).toBe("Let me see.");
  expect(reply.tools).toEqual([
    { name: "look", given: '{"a":1}' },
    { name: "find", given: "{}" },
  ]);
});

it.each([
  [
    "a refusal",
    event({ status: 404, error: { message: "there is no such model" } }, "refused"),
    "there is no such model",
  ],
  ["an error in the stream", event({ error: { message: "the engine is gone" } }), "the engine is gone"],
  ["what is not JSON", { event: "message", data: "oops", comment: "" }, "The answer could not be read."],
])("fails with %s, and stays failed", (_, told, words) => {
  const reply = after(asked(0), told, 1);
  expect([reply.phase, reply.problem]).toEqual(["failed", words]);
  expect(after(reply, DONE, 2).phase).toBe("failed");
});

it("is not whole without its end, and stopped only while it is open", () => {
  expect(ended(asked(0), 1).problem).toContain("broke off");
  expect(stopped(asked(0)).phase).toBe("stopped");
  const whole = after(asked(0), DONE, 1);
  expect([ended(whole, 2).phase, stopped(whole).phase]).toEqual(["done", "done"]);
});
