/** One answer as it comes: what has been said, when, and how it ended. Pure; instants are milliseconds. */
import { told as inWords } from "../../language/told";
import type { Told } from "./stream";

export type Phase = "asked" | "answering" | "done" | "stopped" | "failed";

export interface ToolCall {
  readonly name: string;
  /** JSON, as far as it has come. */
  readonly given: string;
}

export interface Reply {
  readonly phase: Phase;
  readonly text: string;
  readonly reasoning: string;
  readonly tools: readonly ToolCall[];
  /** What the gateway says while nothing comes. */
  readonly waiting: string;
  readonly problem: string;
  readonly finish: string;
  readonly promptTokens: number | null;
  readonly completionTokens: number | null;
  readonly askedAt: number;
  readonly firstAt: number | undefined;
  readonly lastAt: number | undefined;
  /** Its x-request-id. */
  readonly requestId: string;
}

export const asked = (now: number): Reply => ({
  phase: "asked",
  text: "",
  reasoning: "",
  tools: [],
  waiting: "",
  problem: "",
  finish: "",
  promptTokens: null,
  completionTokens: null,
  askedAt: now,
  firstAt: undefined,
  lastAt: undefined,
  requestId: "",
});

interface Delta {
  content?: string | null;
  reasoning?: string | null;
  reasoning_content?: string | null;
  tool_calls?: { index?: number; function?: { name?: string | null; arguments?: string | null } }[];
}

interface Piece {
  choices?: { delta?: Delta; finish_reason?: string | null }[];
  usage?: { prompt_tokens?: number; completion_tokens?: number } | null;
  error?: { message?: string };
}

/** The reply after one more event. */
export function after(reply: Reply, told: Told, now: number): Reply {
  if (told.comment && !told.data) return { ...reply, waiting: inWords(told.comment) };
  if (told.data === "[DONE]") return reply.phase === "failed" ? reply : { ...reply, phase: "done", lastAt: now };
  let piece: Piece;
  try {
    piece = JSON.parse(told.data) as Piece;
  } catch {
    return failed(reply, "The answer could not be read.", now);
  }
  if (piece.error || told.event === "refused") {
    const said = piece.error?.message;
    return failed(reply, said ? inWords(said) : "It was refused, and no reason was given.", now);
  }
  return withPiece(reply, piece, now);
}

function withPiece(reply: Reply, piece: Piece, now: number): Reply {
  const choice = piece.choices?.[0];
  const delta = choice?.delta ?? {};
  const content = delta.content ?? "";
  const reasoning = delta.reasoning ?? delta.reasoning_content ?? "";
  const said = content !== "" || reasoning !== "" || (delta.tool_calls ?? []).length > 0;
  return {
    ...reply,
    phase: said || reply.phase === "answering" ? "answering" : reply.phase,
    waiting: said ? "" : reply.waiting,
    text: reply.text + content,
    reasoning: reply.reasoning + reasoning,
    tools: (delta.tool_calls ?? []).reduce(withCall, reply.tools),
    finish: choice?.finish_reason ?? reply.finish,
    promptTokens: piece.usage?.prompt_tokens ?? reply.promptTokens,
    completionTokens: piece.usage?.completion_tokens ?? reply.completionTokens,
    firstAt: reply.firstAt ?? (said ? now : undefined),
    lastAt: said ? now : reply.lastAt,
  };
}

type Part = NonNullable<Delta["tool_calls"]>[number];

function withCall(calls: readonly ToolCall[], part: Part): readonly ToolCall[] {
  const index = part.index ?? 0;
  const known = calls[index] ?? { name: "", given: "" };
  const changed = {
    name: known.name || (part.function?.name ?? ""),
    given: known.given + (part.function?.arguments ?? ""),
  };
  return [...calls.slice(0, index), changed, ...calls.slice(index + 1)];
}

export function failed(reply: Reply, problem: string, now: number): Reply {
  return { ...reply, phase: "failed", problem, waiting: "", lastAt: now };
}

export const stopped = (reply: Reply): Reply => (isOpen(reply) ? { ...reply, phase: "stopped", waiting: "" } : reply);

/** The stream has ended: without its last word it is no whole answer. */
export const ended = (reply: Reply, now: number): Reply =>
  isOpen(reply) ? failed(reply, "The answer broke off before its end.", now) : reply;

export const isOpen = (reply: Reply): boolean => reply.phase === "asked" || reply.phase === "answering";

/** Seconds until its first token, as this browser saw it. */
export const ttft = (reply: Reply): number | null =>
  reply.firstAt === undefined ? null : (reply.firstAt - reply.askedAt) / 1000;

/** Tokens per second between its first token and its last; unknown until the engine has counted them. */
export function tokensPerSecond(reply: Reply): number | null {
  const { completionTokens: tokens, firstAt, lastAt } = reply;
  if (tokens === null || tokens < 2 || firstAt === undefined || lastAt === undefined || lastAt <= firstAt) return null;
  return ((tokens - 1) * 1000) / (lastAt - firstAt);
}
