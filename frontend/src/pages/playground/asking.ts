/** What is asked of models: settings as a form has them, as an address tells them, and as a request sends them. Pure. */
import { count, parseNumber } from "../../lib/format";
import { isOpen, type Reply } from "./answer";

export const PANES = 4;

export interface Settings {
  /** One for each pane, at least one; "" is not chosen yet. */
  models: string[];
  system: string;
  prompt: string;
  temperature: string;
  topP: string;
  maxTokens: string;
  seed: string;
  /** JSON, a list as OpenAI's API takes it. */
  tools: string;
  /** One of TOOL_CHOICES, or `function:` and the name of a tool; "" leaves it to the engine. */
  toolChoice: string;
}

/** What was asked in one turn, and what came of it. */
export interface Turn {
  readonly prompt: string;
  /** Data URLs. */
  readonly images: readonly string[];
  readonly reply: Reply;
}

const NUMBERS = { temperature: "temperature", topP: "top_p", maxTokens: "max_tokens", seed: "seed" } as const;
const TEXTS = { system: "system", prompt: "prompt", tools: "tools", toolChoice: "tool_choice" } as const;
export const TOOL_CHOICES = ["auto", "none", "required"] as const;
const NAMED = "function:";
const LIMITS: Record<keyof typeof NUMBERS, { least: number; most: number; whole: boolean; word: string }> = {
  temperature: { least: 0, most: 2, whole: false, word: "Temperature" },
  topP: { least: 0, most: 1, whole: false, word: "Top P" },
  maxTokens: { least: 1, most: 1_000_000, whole: true, word: "Max tokens" },
  seed: { least: 0, most: Number.MAX_SAFE_INTEGER, whole: true, word: "Seed" },
};
/** A longer text is not put into an address: servers take short ones only. */
const LONGEST_TEXT = 1500;

export function settingsFromQuery(search: string): Settings {
  const query = new URLSearchParams(search);
  const text = (name: string) => query.get(name) ?? "";
  const models = query.getAll("model").slice(0, PANES);
  return {
    models: models.length ? models : [""],
    system: text("system"),
    prompt: text("prompt"),
    temperature: text("temperature"),
    topP: text("top_p"),
    maxTokens: text("max_tokens"),
    seed: text("seed"),
    tools: text("tools"),
    toolChoice: text("tool_choice"),
  };
}

export function settingsToQuery(settings: Settings): string {
  const query = new URLSearchParams(settings.models.filter(Boolean).map((model) => ["model", model]));
  for (const [field, name] of Object.entries({ ...NUMBERS, ...TEXTS })) {
    const value = settings[field as keyof typeof NUMBERS | keyof typeof TEXTS];
    if (value && value.length <= LONGEST_TEXT) query.set(name, value);
  }
  return query.toString();
}

/** What is wrong with one of the numbers or the tools; undefined where nothing is. */
export function wrong(settings: Settings, field: keyof typeof NUMBERS | "tools"): string | undefined {
  const text = settings[field].trim();
  if (text === "") return undefined;
  if (field === "tools") return toolsOf(text) === undefined ? "write a JSON list of tools" : undefined;
  const { least, most, whole, word } = LIMITS[field];
  const value = parseNumber(text);
  if (Number.isNaN(value) || (whole && !Number.isInteger(value))) {
    return whole ? `${word} is a whole number` : `${word} is a number`;
  }
  if (value < least || value > most) return `${word} is from ${least} to ${count(most)}`;
  return undefined;
}

export const allRight = (settings: Settings): boolean =>
  [...(Object.keys(NUMBERS) as (keyof typeof NUMBERS)[]), "tools" as const].every((field) => !wrong(settings, field));

function toolsOf(text: string): unknown[] | undefined {
  try {
    const found: unknown = JSON.parse(text);
    return Array.isArray(found) ? found : undefined;
  } catch {
    return undefined;
  }
}

/** The choices that name one of the tools, each with the tool's name. */
export function namedTools(settings: Settings): [choice: string, name: string][] {
  const tools = (toolsOf(settings.tools.trim()) ?? []) as ({ function?: { name?: unknown } } | null)[];
  return [...new Set(tools.map((tool) => tool?.function?.name))]
    .filter((name): name is string => typeof name === "string" && name !== "")
    .map((name) => [`${NAMED}${name}`, name]);
}

/** As OpenAI's API takes it; nothing for a tool that is not there any more. */
function toolChoice(settings: Settings): object {
  const named = namedTools(settings).find(([choice]) => choice === settings.toolChoice);
  if (named !== undefined) return { tool_choice: { type: "function", function: { name: named[1] } } };
  return (TOOL_CHOICES as readonly string[]).includes(settings.toolChoice) ? { tool_choice: settings.toolChoice } : {};
}

/** The body of a request: the turns before, then this prompt. What is left empty the engine decides. */
export function body(model: string, settings: Settings, before: readonly Turn[], images: readonly string[]): object {
  const numbers = Object.entries(NUMBERS).flatMap(([field, name]) => {
    const text = settings[field as keyof typeof NUMBERS].trim();
    return text === "" ? [] : [[name, parseNumber(text)]];
  });
  const tools = toolsOf(settings.tools.trim());
  const system = settings.system.trim() ? [{ role: "system", content: settings.system }] : [];
  return {
    model,
    messages: [...system, ...before.flatMap(messages), asPerson(settings.prompt, images)],
    ...Object.fromEntries(numbers),
    ...(tools?.length ? { tools, ...toolChoice(settings) } : {}),
  };
}

/** A turn that came to nothing is not told again. */
function messages({ prompt, images, reply }: Turn): object[] {
  if (isOpen(reply) || !reply.text) return [];
  return [asPerson(prompt, images), { role: "assistant", content: reply.text }];
}

function asPerson(prompt: string, images: readonly string[]): object {
  if (!images.length) return { role: "user", content: prompt };
  const pictures = images.map((url) => ({ type: "image_url", image_url: { url } }));
  return { role: "user", content: [{ type: "text", text: prompt }, ...pictures] };
}
