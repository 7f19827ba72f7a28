import { describe, expect, it } from "vitest";
import { asked, capturesUntil, curl, isAltered, matchingCaptures, phases, pretty, said, withLater } from "./captures";
import { capture } from "./captures.fake";

const texts = (...values: unknown[]) =>
  said(values.map((value) => JSON.stringify(value)).join("\n")).map(({ label, text }) => [label, text]);

describe("the list", () => {
  const ids = (list: readonly { id: string }[]) => list.map((one) => one.id);
  const known = [capture({ id: "3-0" }), capture({ id: "1-0" })];

  it("grows at its top, without what it has", () => {
    expect(ids(withLater(known, [capture({ id: "3-0" }), capture({ id: "4-0" }), capture({ id: "5-0" })]))).toEqual([
      "5-0",
      "4-0",
      "3-0",
      "1-0",
    ]);
  });

  it("forgets the oldest", () => {
    const many = Array.from({ length: 250 }, (_, index) => capture({ id: `${index + 10}-0` }));
    const grown = withLater(known, many);
    expect([grown.length, grown[0]?.id, grown.at(-1)?.id]).toEqual([200, "259-0", "60-0"]);
  });

  it("is searched in what was asked, answered, and by whom", () => {
    const list = [
      capture({ request: '{"prompt":"Sea"}' }),
      capture({ key_name: "Deep-sea" }),
      capture({ response: "land" }),
    ];
    expect(matchingCaptures(list, " sea")).toEqual(list.slice(0, 2));
    expect(matchingCaptures(list, "")).toEqual(list);
  });
});

describe("what was said", () => {
  it("is the text of a chat, by choice", () => {
    const choices = [
      { index: 0, message: { content: "One", reasoning_content: "Hm" } },
      { index: 1, message: { content: "Two", tool_calls: [{ function: { name: "look", arguments: '{"at":1}' } }] } },
    ];
    expect(texts({ choices })).toEqual([
      ["Reasoning", "Hm"],
      ["Answer", "One"],
      ["Answer 2", "Two"],
      ["Tool call", 'look {"at":1}'],
    ]);
  });

  it("is put together from raw events, and from those that were put together already", () => {
    const delta = (content: string) => ({ choices: [{ index: 0, delta: { content } }] });
    const raw = `data: ${JSON.stringify(delta("Hel"))}\n\n: waiting\n\ndata: ${JSON.stringify(delta("lo"))}\n\ndata: [DONE]\n\n`;
    expect(said(raw)).toEqual([{ label: "Answer", text: "Hello" }]);
    expect(texts(delta("Hello"), { choices: [], usage: { total_tokens: 3 } })).toEqual([["Answer", "Hello"]]);
  });

  it.each([
    ["completions", [{ choices: [{ index: 0, text: "Hi" }] }]],
    ["messages", [{ type: "message", content: [{ type: "text", text: "Hi" }] }]],
    [
      "streamed messages",
      [
        { type: "message_start", message: { content: [] } },
        { type: "content_block_delta", delta: { text: "Hi" } },
      ],
    ],
    ["responses", [{ output: [{ type: "message", content: [{ text: "Hi" }] }] }]],
    [
      "streamed responses",
      [
        { type: "response.output_text.delta", delta: "Hi" },
        { type: "response.output_text.done", text: "Hi" },
      ],
    ],
  ])("is found in %s", (_, values) => expect(texts(...values)).toEqual([["Answer", "Hi"]]));

  it("is found beside what was redacted or left out", () => {
    const told = '{"choices":[{"index":0,"delta":{"content":"Hi"},"logprobs":[redacted]}]}';
    expect(said(`${told}\n[… 9 bytes left out …]\n{"choi`)).toEqual([{ label: "Answer", text: "Hi" }]);
  });

  it("is an error's message", () => {
    expect(texts({ error: { message: "too long", code: "bad_request" } })).toEqual([["Error", "too long"]]);
  });

  it.each([
    ["not JSON"],
    ['{"choices": [{"mess\n[… 99 bytes left out …]\n"}]}'],
    [""],
    ["null"],
    ['{"choices": 3, "content": {"a": 1}}'],
  ])("is nothing in %j", (text) => expect(said(text)).toEqual([]));
});

describe("a request", () => {
  it("is indented where it is JSON", () => {
    expect(pretty('{"a":[1]}')).toBe('{\n  "a": [\n    1\n  ]\n}');
    expect(pretty('{"a":1}\n{"b":[redacted],"c":"\\":[redacted]"}')).toBe(
      '{\n  "a": 1\n}\n{\n  "b": "[redacted]",\n  "c": "\\":[redacted]"\n}',
    );
    expect(pretty('{"a":\n[… 9 bytes left out …]\n}')).toBe('{"a":\n[… 9 bytes left out …]\n}');
  });

  it.each([
    [{ messages: [{ content: "first" }, { content: "last  one" }] }, "last one"],
    [{ messages: [{ content: [{ type: "text", text: "see" }, { type: "image_url" }] }] }, "see"],
    [{ prompt: ["a", "b"] }, "b"],
    [{ input: [{ role: "user", content: [{ type: "input_text", text: "hear" }] }] }, "hear"],
    [{ input: "embed me" }, "embed me"],
    [{ other: 1 }, '{"other":1}'],
  ])("%j is told by %j", (body, text) => expect(asked(JSON.stringify(body))).toBe(text));

  it("is told to be altered where words stand in for it", () => {
    expect(["a [redacted] b", "[image/png, 12 bytes]", "x\n[… 5 bytes left out …]\n"].map(isAltered)).toEqual([
      true,
      true,
      true,
    ]);
    expect(isAltered("[1, 2] and [redact]")).toBe(false);
  });

  it("becomes a line that a shell reads as it was", () => {
    const line = curl(capture({ request: '{"a": "it\'s $HOME"}', stream: true }), "http://h:1");
    expect(line.split(" \\\n  ")).toEqual([
      "curl -N http://h:1/v1/chat/completions",
      '-H "Authorization: Bearer $SARDEENZ_API_KEY"',
      "-H 'Content-Type: application/json'",
      `-d '{"a":"it'\\''s $HOME"}'`,
    ]);
  });

  it("without a body, or with a form, is repeated as such", () => {
    expect(
      curl(capture({ method: "GET", path: "/v1/responses/r?x=1", request: "" }), "http://h:1").split(" \\\n  "),
    ).toEqual(["curl -X GET 'http://h:1/v1/responses/r?x=1'", '-H "Authorization: Bearer $SARDEENZ_API_KEY"']);
    const form = capture({
      headers: { "content-type": "multipart/form-data; boundary=x" },
      request: '{"model":"ear","language":"de ch"}',
    });
    expect(curl(form, "http://h:1").split(" \\\n  ").slice(2)).toEqual(["-F model=ear", "-F 'language=de ch'"]);
  });
});

describe("time", () => {
  const times = (wake_seconds: number, queue_seconds: number, ttft_seconds: number | null, e2e_seconds: number) =>
    phases({ wake_seconds, queue_seconds, ttft_seconds, e2e_seconds }).map(({ kind, start, seconds }) => [
      kind,
      start,
      seconds,
    ]);

  it("goes to waking, queueing, the first token and the rest", () => {
    expect(times(1, 2, 4, 8)).toEqual([
      ["wake", 0, 1],
      ["queue", 1, 2],
      ["first", 3, 1],
      ["rest", 4, 4],
    ]);
  });

  it("leaves out what took none, and what is not known", () => {
    expect(times(0, 0, null, 8)).toEqual([["answer", 0, 8]]);
    expect(times(0, 2, null, 2)).toEqual([["queue", 0, 2]]);
    expect(times(0, 0, 9, 8)).toEqual([["first", 0, 8]]);
  });

  it("of capturing ends", () => {
    const now = Date.parse("2030-01-01T00:00:00Z");
    expect(capturesUntil("2030-01-01T00:15:00Z", now)).toBe(now + 900_000);
    expect([capturesUntil("2030-01-01T00:00:00Z", now), capturesUntil(null, now)]).toEqual([undefined, undefined]);
  });
});
