/** Captured calls: a list that grows, what was said in them, how their time went, and how to repeat them. Pure. */
import type { Capture } from "../../api/types";

const KEPT = 200;

/** `later`, oldest first, on top of `known`, newest first; what has come twice is there once. */
export function withLater(known: readonly Capture[], later: readonly Capture[]): Capture[] {
  const ids = new Set(known.map((capture) => capture.id));
  return [...later.filter((capture) => !ids.has(capture.id)).toReversed(), ...known].slice(0, KEPT);
}

/** The calls that hold `query` in what was asked, answered or says whose they are, whatever the case. */
export function matchingCaptures(list: readonly Capture[], query: string): readonly Capture[] {
  const wanted = query.trim().toLowerCase();
  if (!wanted) return list;
  return list.filter(({ request, response, key_name, team_name, asked_name, outcome, request_id, path }) =>
    [request, response, key_name, team_name, asked_name, outcome, request_id, path].some((text) =>
      text?.toLowerCase().includes(wanted),
    ),
  );
}

/** JSON with line breaks and indents, each line by itself where the whole is none; other text as it is. */
export function pretty(text: string): string {
  const whole = read(text);
  if (whole !== undefined) return JSON.stringify(whole, null, 2);
  return text
    .split("\n")
    .map((line) => (isTree(read(line)) ? JSON.stringify(read(line), null, 2) : line))
    .join("\n");
}

/** The value of JSON, also where one in it was redacted; undefined when it is none. */
function read(text: string): unknown {
  for (const tried of [text, text.replace(/(?<=[^\\]"):\s*\[redacted\]/g, ':"[redacted]"')]) {
    try {
      return JSON.parse(tried) as unknown;
    } catch {
      continue;
    }
  }
  return undefined;
}

/** The objects of a text: one, or one to a line, or the events of a stream. What cannot be read is left out. */
function trees(text: string): Tree[] {
  const whole = read(text);
  const lines = whole === undefined ? text.split("\n").map((line) => read(line.replace(/^data:/, ""))) : [whole];
  return lines.filter(isTree);
}

type Tree = Record<string, unknown>;
const isTree = (value: unknown): value is Tree => value !== null && typeof value === "object" && !Array.isArray(value);
const tree = (value: unknown): Tree => (isTree(value) ? value : {});
const list = (value: unknown): Tree[] => (Array.isArray(value) ? value.map(tree) : []);
const string = (value: unknown): string => (typeof value === "string" ? value : "");

/** Something that was said: an answer, reasoning, the call of a tool, an error. */
export interface Said {
  readonly label: string;
  readonly text: string;
}

/** What an answer says to a reader, streamed or not, in the words of /v1/chat, completions, messages or responses. */
export function said(response: string): Said[] {
  const texts = new Map<string, string>();
  const add = (label: string, text: string) => {
    if (text) texts.set(label, (texts.get(label) ?? "") + text);
  };
  for (const value of trees(response)) {
    if (value["error"]) add("Error", string(tree(value["error"])["message"]) || JSON.stringify(value["error"]));
    for (const choice of list(value["choices"])) addChoice(choice, add);
    for (const block of list(value["content"])) addBlock(block, "", add);
    addEvent(value, add);
    for (const item of list(value["output"])) addItem(item, add);
  }
  return [...texts].map(([label, text]) => ({ label, text }));
}

type Add = (label: string, text: string) => void;

function numbered(label: string, index: unknown): string {
  return typeof index === "number" && index > 0 ? `${label} ${index + 1}` : label;
}

function addChoice(choice: Tree, add: Add): void {
  const message = tree(choice["message"] ?? choice["delta"]);
  const label = (word: string) => numbered(word, choice["index"]);
  add(label("Reasoning"), string(message["reasoning_content"]) || string(message["reasoning"]));
  add(label("Answer"), string(message["content"]) || string(choice["text"]));
  add(label("Refusal"), string(message["refusal"]));
  for (const [place, called] of list(message["tool_calls"]).entries()) {
    const made = tree(called["function"]);
    const name = string(made["name"]);
    add(numbered("Tool call", called["index"] ?? place), (name ? `${name} ` : "") + string(made["arguments"]));
  }
}

/** A part of a message of /v1/messages. */
function addBlock(block: Tree, suffix: string, add: Add): void {
  add(`Answer${suffix}`, string(block["text"]));
  add(`Reasoning${suffix}`, string(block["thinking"]));
  if (block["type"] === "tool_use")
    add("Tool call", `${string(block["name"])} ${JSON.stringify(block["input"] ?? {})}`);
}

/** An event of a stream of /v1/messages or /v1/responses. The latter's last events say everything again. */
function addEvent(value: Tree, add: Add): void {
  const delta = value["delta"];
  if (value["type"] === "content_block_delta") {
    addBlock(tree(delta), "", add);
    add("Tool call", string(tree(delta)["partial_json"]));
  }
  if (value["type"] === "response.output_text.delta") add("Answer", string(delta));
  if (value["type"] === "response.function_call_arguments.delta") add("Tool call", string(delta));
  if (string(value["type"]).startsWith("response.reasoning") && string(value["type"]).endsWith(".delta"))
    add("Reasoning", string(delta));
}

/** A part of what /v1/responses gives without streaming. */
function addItem(item: Tree, add: Add): void {
  const label = item["type"] === "reasoning" ? "Reasoning" : "Answer";
  for (const part of list(item["content"])) add(label, string(part["text"]));
  if (item["type"] === "function_call") add("Tool call", `${string(item["name"])} ${string(item["arguments"])}`);
}

export const PHASES = {
  wake: "waited for the model to wake",
  queue: "waited for a place",
  first: "until the first token",
  rest: "until the end",
  answer: "until the answer",
} as const;

export interface Phase {
  readonly kind: keyof typeof PHASES;
  readonly start: number;
  readonly seconds: number;
}

/** How the time of a call went, in seconds since it came; without a first token, what is left is one phase. */
export function phases(
  call: Pick<Capture, "wake_seconds" | "queue_seconds" | "ttft_seconds" | "e2e_seconds">,
): Phase[] {
  const waited = call.wake_seconds + call.queue_seconds;
  const first =
    call.ttft_seconds === null ? undefined : Math.min(Math.max(call.ttft_seconds, waited), call.e2e_seconds);
  const ends: [Phase["kind"], number][] = [
    ["wake", call.wake_seconds],
    ["queue", waited],
    ...(first === undefined
      ? [["answer", call.e2e_seconds] as [Phase["kind"], number]]
      : ([
          ["first", first],
          ["rest", call.e2e_seconds],
        ] as [Phase["kind"], number][])),
  ];
  return ends.flatMap(([kind, end], index) => {
    const start = ends[index - 1]?.[1] ?? 0;
    return end - start > 0 ? [{ kind, start, seconds: end - start }] : [];
  });
}

/** The call as a line for a shell; the key is the reader's own. What was redacted or left out stays so. */
export function curl(
  call: Pick<Capture, "method" | "path" | "request" | "headers" | "stream">,
  gateway: string,
): string {
  const parts = [
    `curl ${call.stream ? "-N " : ""}${call.method === "POST" ? "" : `-X ${call.method} `}${shell(gateway + call.path)}`,
  ];
  parts.push(`-H "Authorization: Bearer $SARDEENZ_API_KEY"`);
  const type = call.headers["content-type"] ?? "application/json";
  const fields = type.startsWith("multipart/") ? tree(read(call.request)) : undefined;
  if (fields) for (const [name, value] of Object.entries(fields)) parts.push(`-F ${shell(`${name}=${String(value)}`)}`);
  else if (call.request) {
    const whole = read(call.request);
    parts.push(
      `-H ${shell(`Content-Type: ${type}`)}`,
      `-d ${shell(whole === undefined ? call.request : JSON.stringify(whole))}`,
    );
  }
  return parts.join(" \\\n  ");
}

function shell(text: string): string {
  return /^[\w:/.@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

const LEFT_OUT =
  /\[(?:redacted|e-mail|private key|… \d+ bytes left out …|[^\][]{1,60}, \d+ bytes|\d+ bytes that are not text)\]/;

/** Whether something stands in for what was really sent. */
export function isAltered(text: string): boolean {
  return LEFT_OUT.test(text);
}

/** The first words of the last thing that was asked, for a list. */
export function asked(request: string): string {
  const body = tree(read(request));
  const given = body["messages"] ?? body["input"] ?? body["prompt"];
  const last: unknown = Array.isArray(given) ? given.at(-1) : given;
  const text = typeof last === "string" ? last : textOf(tree(last)["content"]);
  return (text || request).replace(/\s+/g, " ").trim().slice(0, 200);
}

function textOf(content: unknown): string {
  return typeof content === "string"
    ? content
    : list(content)
        .flatMap((part) => string(part["text"]) || [])
        .join(" ");
}

/** Until when a deployment captures, in milliseconds since 1970; undefined when it does not now. */
export function capturesUntil(until: string | null | undefined, now: number): number | undefined {
  const at = until ? Date.parse(until) : NaN;
  return at > now ? at : undefined;
}
