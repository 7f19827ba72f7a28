/** What the forms of keys and teams hold, as text, and the requests they become. Pure. */
import { word } from "../../language/word";
import type { Key, KeyChange, KeyRequest, Scope, Team, TeamRequest } from "../../api/types";
import { since } from "../../lib/format";
import { quotaDraft, quotaRequest, type QuotaDraft } from "./quota";

export const SCOPES: Record<Scope, { word: string; about: string }> = {
  inference: { word: "Inference", about: "Calls models at /v1. For applications; never together with manage." },
  read: { word: "Read", about: "Looks at everything under /api: the fleet, keys, usage." },
  manage: { word: "Manage", about: "Changes everything under /api: deploys, makes keys. For tools you trust." },
};

export type KeyState = "usable" | "expired" | "revoked";
export const KEY_STATES: Record<KeyState, string> = { usable: "Usable", expired: "Expired", revoked: "Revoked" };

/** Whether the key opens anything now; revoked is for good. */
export function keyState(key: Pick<Key, "revoked_at" | "expires_at">, now: number): KeyState {
  if (key.revoked_at) return "revoked";
  return key.expires_at && Date.parse(key.expires_at) <= now ? "expired" : "usable";
}

export interface KeyDraft {
  name: string;
  scopes: Scope[];
  /** A team's id, or "" for none. */
  team: string;
  every_model: boolean;
  /** What is chosen where not every one is. */
  allowed_models: string[];
  /** As an `<input type="datetime-local">` has it, in this browser's time zone; "" is never. */
  expires_at: string;
  quota: QuotaDraft;
}

/** An empty form for a key that may ask for models, or the key as it is. */
export function keyDraft(of?: Key): KeyDraft {
  return {
    name: of?.name ?? "",
    scopes: [...(of?.scopes ?? (["inference"] as const))],
    team: of?.team == null ? "" : String(of.team),
    every_model: !of?.allowed_models?.length,
    allowed_models: [...(of?.allowed_models ?? [])],
    expires_at: of?.expires_at ? localTime(Date.parse(of.expires_at)) : "",
    quota: quotaDraft(of),
  };
}

/** The request, or what is wrong by field. An expiry that nobody touched keeps its seconds. */
export function keyRequest(given: KeyDraft, of?: Key): { request: KeyRequest; wrong: Record<string, string> } {
  const { quota, wrong } = quotaRequest(given.quota);
  const request: KeyRequest = {
    name: given.name.trim(),
    scopes: given.scopes,
    team: given.team ? Number(given.team) : null,
    allowed_models: given.every_model ? [] : given.allowed_models,
    ...quota,
  };
  if (of === undefined || given.expires_at !== keyDraft(of).expires_at) request.expires_at = instant(given.expires_at);
  if (!request.name) wrong["name"] = "give it a name";
  if (!given.scopes.length) wrong["scopes"] = "choose at least one";
  if (!given.every_model && !given.allowed_models.length)
    wrong["allowed_models"] = "choose at least one, or every model";
  return { request, wrong };
}

/** What may change of a key: everything but its scopes. */
export function keyChange(request: KeyRequest): KeyChange {
  const { scopes: _, ...change } = request;
  return change;
}

/** An inference key can never manage: choosing one of the two gives up the other. */
export function withScope(scopes: readonly Scope[], scope: Scope, wanted: boolean): Scope[] {
  const apart: Partial<Record<Scope, Scope>> = { inference: "manage", manage: "inference" };
  const kept = scopes.filter((held) => held !== scope && !(wanted && held === apart[scope]));
  return wanted ? [...kept, scope] : kept;
}

/** Milliseconds since 1970 as an `<input type="datetime-local">` wants them. */
export function localTime(at: number): string {
  return new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

function instant(local: string): string | null {
  return local ? new Date(local).toISOString() : null;
}

/** Those to show: revoked ones where wanted, and every word of `query` in what one may know a key by. */
export function matchingKeys(keys: readonly Key[], query: string, revoked: boolean): Key[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const text = (key: Key) =>
    [key.name, key.prefix, key.team_name, key.owner_name, ...key.scopes, ...(key.allowed_models ?? [])]
      .join(" ")
      .toLowerCase();
  return keys.filter((key) => (revoked || !key.revoked_at) && words.every((word) => text(key).includes(word)));
}

/** A line for a shell that tries a new key: a question to `model`, or a look at the API. */
export function curlLine(
  made: { key: string; scopes: readonly Scope[] },
  model: string,
  at: { gateway: string; web: string },
): string {
  const bearer = `-H 'Authorization: Bearer ${made.key}'`;
  if (!made.scopes.includes("inference")) return `curl ${at.web}/api/deployments ${bearer}`;
  const body = JSON.stringify({ model, messages: [{ role: "user", content: "Hello" }] });
  return `curl ${at.gateway}/v1/chat/completions ${bearer} -H 'Content-Type: application/json' -d '${body}'`;
}

export interface TeamDraft {
  name: string;
  weight: string;
  priority: string;
  quota: QuotaDraft;
}

/** An empty form, or the team as it is. */
export function teamDraft(of?: Team): TeamDraft {
  return {
    name: of?.name ?? "",
    weight: String(of?.weight ?? 1),
    priority: String(of?.priority ?? 0),
    quota: quotaDraft(of),
  };
}

/** The request, or what is wrong by field. */
export function teamRequest(given: TeamDraft): { request: TeamRequest; wrong: Record<string, string> } {
  const { quota, wrong } = quotaRequest(given.quota);
  const request = { name: given.name.trim(), weight: Number(given.weight), priority: Number(given.priority), ...quota };
  if (!request.name) wrong["name"] = "give it a name";
  if (!Number.isInteger(request.weight) || request.weight < 1) wrong["weight"] = "write a whole number from 1";
  if (!Number.isInteger(request.priority) || !given.priority.trim()) wrong["priority"] = "write a whole number";
  return { request, wrong };
}

/** When a key was last used, as far as calls of models tell; what a key does at /api is not recorded. */
export function lastUsed(key: Pick<Key, "last_used_at" | "scopes">, now: number): string {
  if (key.last_used_at) return `${since(key.last_used_at, now)} ago`;
  return key.scopes.includes("inference") ? word("never") : "not recorded";
}
