/** The REST API: one function per thing the page does, and one error. */
import type {
  DeploymentRequest,
  DeploymentRow,
  Me,
  Model,
  ModelRequest,
  ReplicaRow,
  Runtime,
  Verb,
} from "./types";

/** The server's `{code, message, fields}`; `code` is "unreachable" when there was no answer. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly fields: Record<string, unknown> = {},
  ) {
    super(message);
  }

  /** The message for one field of a form, if it is this field's fault. */
  at(field: string): string | undefined {
    const told = this.fields[field];
    if (told === undefined || this.code !== "invalid_spec") {
      return this.fields["field"] === field ? this.message : undefined;
    }
    return texts(told).join(" ");
  }
}

function texts(told: unknown): string[] {
  if (Array.isArray(told)) return told.flatMap(texts);
  if (told !== null && typeof told === "object") return Object.values(told).flatMap(texts);
  return [String(told)];
}

function csrfToken(): string {
  return /(?:^|;\s*)csrftoken=([^;]+)/.exec(document.cookie)?.[1] ?? "";
}

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (method !== "GET") headers["X-CSRFToken"] = csrfToken();
  const init: RequestInit = { method, headers, credentials: "same-origin" };
  if (method !== "GET" && method !== "DELETE") {
    headers["Content-Type"] = "application/json";
    init.body = JSON.stringify(body ?? {});
  }
  let answer: Response;
  try {
    answer = await fetch(`/api/${path}`, init);
  } catch {
    throw new ApiError(0, "unreachable", "Sardeenz does not answer. Is it running?");
  }
  const text = await answer.text();
  if (!answer.ok) throw failure(answer.status, text);
  return (text ? JSON.parse(text) : undefined) as T;
}

function failure(status: number, text: string): ApiError {
  try {
    const told = JSON.parse(text) as { code?: string; message?: string; fields?: Record<string, unknown> };
    return new ApiError(status, told.code ?? "error", told.message ?? `error ${status}`, told.fields ?? {});
  } catch {
    return new ApiError(status, "error", `The server answered with error ${status}.`);
  }
}

interface Page<T> {
  results: T[];
}

async function all<T>(path: string): Promise<T[]> {
  return (await call<Page<T>>("GET", `${path}?limit=1000`)).results;
}

export const me = () => call<Me>("GET", "me");
export const logOut = () => call<undefined>("POST", "logout");

/** Begin a session; the GET before it sets the cookie that proves the form is ours. */
export async function logIn(username: string, password: string): Promise<Me> {
  await call<undefined>("GET", "login");
  return call<Me>("POST", "login", { username, password });
}

export const models = () => all<Model>("models");
export const folders = () => call<string[]>("GET", "models/folders");
export const runtimes = () => all<Runtime>("runtimes");
export const createModel = (given: ModelRequest) => call<Model>("POST", "models", given);
export const createDeployment = (given: DeploymentRequest) => call<DeploymentRow>("POST", "deployments", given);
export const changeDeployment = (id: number, given: Partial<DeploymentRequest>) =>
  call<DeploymentRow>("PATCH", `deployments/${id}`, given);
export const deploy = (id: number, gpu?: string) =>
  call<DeploymentRow>("POST", `deployments/${id}/deploy`, gpu ? { gpu } : {});
export const deleteDeployment = (id: number) => call<DeploymentRow | undefined>("DELETE", `deployments/${id}`);
export const act = (replica: number, verb: Verb, given: object = {}) =>
  call<ReplicaRow>("POST", `replicas/${replica}/${verb}`, given);
