/** The REST API: one function per thing the page does, and one error. */
import { retold, retoldFields } from "../language/retold";
import { told } from "../language/told";
import type {
  Ahead,
  Alias,
  AliasRequest,
  Benchmark,
  BenchmarkRequest,
  BenchmarkRow,
  Cancelled,
  Captures,
  Decisions,
  DeploymentRequest,
  DeploymentRow,
  ErrorCode,
  Fit,
  GPURow,
  History,
  HoursPage,
  HoursRow,
  InForce,
  Key,
  KeyChange,
  KeyRequest,
  Lanes,
  Launch,
  Me,
  Model,
  NewKey,
  OverrideRow,
  Plan,
  Preview,
  Profile,
  ReplicaRow,
  RunningCalls,
  Runtime,
  RuntimeRequest,
  Settings,
  Speed,
  Team,
  TeamRequest,
  Timeline,
  Traffic,
  UsageCall,
  Verb,
  Week,
  Why,
  WindowRequest,
  WindowRow,
} from "./types";

/** The server's `{code, message, fields}`; `code` is "unreachable" when there was no answer. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: ErrorCode | "unreachable",
    message: string,
    readonly fields: Record<string, unknown> = {},
  ) {
    super(message);
  }

  /** The message for one field of a form, if it is this field's fault; "states.1.priority" is one in a list. */
  at(field: string): string | undefined {
    const said = within(this.fields, field.split("."));
    if (said === undefined || this.code !== "invalid_spec") {
      return this.fields["field"] === field ? this.message : undefined;
    }
    return texts(said).join(" ");
  }
}

function within(told: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (found, name) =>
      found !== null && typeof found === "object" ? (found as Record<string, unknown>)[name] : undefined,
    told,
  );
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
  return (text ? retold(JSON.parse(text)) : undefined) as T;
}

function failure(status: number, text: string): ApiError {
  try {
    const said = JSON.parse(text) as { code?: ErrorCode; message?: string; fields?: Record<string, unknown> };
    const { code = "error", message = `error ${status}`, fields = {} } = said;
    return new ApiError(status, code, told(message), code === "invalid_spec" ? retoldFields(fields) : retold(fields));
  } catch {
    return new ApiError(status, "error", `The server answered with error ${status}.`);
  }
}

interface Page<T> {
  count: number;
  results: T[];
}

const PAGE_ROWS = 1000;
const CAPTURE_ROWS = 100;

/** Every row of a list, page after page. */
async function all<T>(path: string): Promise<T[]> {
  const rows: T[] = [];
  for (;;) {
    const page = await call<Page<T>>("GET", `${path}?limit=${PAGE_ROWS}&offset=${rows.length}`);
    rows.push(...page.results);
    if (page.results.length === 0 || rows.length >= page.count) return rows;
  }
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
/** What loads, sleeps and wakes were measured to take. */
export const profiles = () => call<Profile[]>("GET", "profiles");
export const runtimes = () => all<Runtime>("runtimes");
export const createRuntime = (given: RuntimeRequest) => call<Runtime>("POST", "runtimes", given);
export const changeRuntime = (id: number, given: Partial<RuntimeRequest>) =>
  call<Runtime>("PATCH", `runtimes/${id}`, given);
export const deleteRuntime = (id: number) => call<undefined>("DELETE", `runtimes/${id}`);
/** How the installation is set up. */
export const settings = () => call<Settings>("GET", "settings");
export const deleteModel = (id: number) => call<undefined>("DELETE", `models/${id}`);
export const createDeployment = (given: DeploymentRequest) => call<DeploymentRow>("POST", "deployments", given);
export const changeDeployment = (id: number, given: Partial<DeploymentRequest>) =>
  call<DeploymentRow>("PATCH", `deployments/${id}`, given);
export const deploy = (id: number, gpu?: string) =>
  call<DeploymentRow>("POST", `deployments/${id}/deploy`, gpu ? { gpu } : {});
/** Where a draft would fit; `query` as `deploy/draft` writes it. */
export const deploymentFit = (query: string) => call<Fit>("GET", `deployments/fit?${query}`);
/** Where a replica could move. */
export const moveFit = (replica: number) => call<Fit>("GET", `replicas/${replica}/fit`);
export const deleteDeployment = (id: number) => call<DeploymentRow | undefined>("DELETE", `deployments/${id}`);
export const act = (replica: number, verb: Verb, given: object = {}) =>
  call<ReplicaRow>("POST", `replicas/${replica}/${verb}`, given);

export const adoptOrphan = (marker: string) => call<ReplicaRow>("POST", `orphans/${marker}/adopt`);
export const endOrphan = (marker: string) => call<undefined>("POST", `orphans/${marker}/end`);

/** A GPU by its UUID, or all GPUs of a node by its name. */
export type Machine = { readonly gpu: string } | { readonly node: string };
/** Cordon, drain or uncordon. */
export const maintain = (machine: Machine, verb: "cordon" | "drain" | "uncordon", given: object = {}) =>
  call<GPURow[]>(
    "POST",
    `${"gpu" in machine ? `gpus/${machine.gpu}` : `nodes/${encodeURIComponent(machine.node)}`}/${verb}`,
    given,
  );

export const teams = () => all<Team>("teams");
export const createTeam = (given: TeamRequest) => call<Team>("POST", "teams", given);
export const changeTeam = (id: number, given: Partial<TeamRequest>) => call<Team>("PATCH", `teams/${id}`, given);
export const deleteTeam = (id: number) => call<undefined>("DELETE", `teams/${id}`);

export const keys = () => all<Key>("keys");
export const createKey = (given: KeyRequest) => call<NewKey>("POST", "keys", given);
export const changeKey = (id: number, given: KeyChange) => call<Key>("PATCH", `keys/${id}`, given);
export const revokeKey = (id: number) => call<undefined>("DELETE", `keys/${id}`);

export const aliases = () => all<Alias>("aliases");
export const createAlias = (given: AliasRequest) => call<Alias>("POST", "aliases", given);
export const changeAlias = (id: number, given: Partial<AliasRequest>) => call<Alias>("PATCH", `aliases/${id}`, given);
export const deleteAlias = (id: number) => call<undefined>("DELETE", `aliases/${id}`);

/** What an action would do, written as `/api/plans` takes it: `{verb: "stop", replica: 7}`. Nothing is done. */
export const whatIf = (action: object) => call<Plan>("POST", "plans", { action });

/** Do what a plan says, if nothing has moved since: else the refusal `plan_outdated` says what did. */
export const applyPlan = (id: number) => call<Plan>("POST", `plans/${id}/apply`);

export const windows = () => all<WindowRow>("windows");
export const createWindow = (given: WindowRequest) => call<WindowRow>("POST", "windows", given);
export const changeWindow = (id: number, given: Partial<WindowRequest>) =>
  call<WindowRow>("PATCH", `windows/${id}`, given);
export const deleteWindow = (id: number) => call<undefined>("DELETE", `windows/${id}`);
/** When one that is not saved would open, or one that is with what is changed of it. */
export const previewWindow = (given: WindowRequest, id?: number) =>
  call<Preview>("POST", id === undefined ? "windows/preview" : `windows/${id}/preview`, given);
export const overrides = () => all<OverrideRow>("overrides");
export const endOverride = (id: number) => call<undefined>("DELETE", `overrides/${id}`);
/** What is in force now, or at another instant. */
export const inForce = (at?: string) =>
  call<InForce>("GET", `policies/in-force${at === undefined ? "" : `?${new URLSearchParams({ at })}`}`);
/** What windows would move at another instant, if the fleet stood as it does now. */
export const ahead = (at: string) => call<Ahead>("GET", `policies/what-if?${new URLSearchParams({ at })}`);
/** What a change of a window would do, or a new one: `{window: "night", change: {paused: true}}`. Its plan can be applied. */
export const aheadOf = (question: object) => call<Ahead>("POST", "policies/what-if", question);
/** Windows and overrides of the week that has this day, else of this one. */
export const week = (zone: string, day?: string) =>
  call<Week>("GET", `policies/week?${new URLSearchParams({ zone, ...(day && { day }) })}`);

/** Sums of usage, every row of them; `query` as `pages/usage/usage` writes it. */
export async function usageHours(query: string): Promise<Pick<HoursPage, "results" | "totals">> {
  const results: HoursRow[] = [];
  for (;;) {
    const page = await call<HoursPage>("GET", `usage/hours?${query}&limit=${PAGE_ROWS}&offset=${results.length}`);
    results.push(...page.results);
    if (page.results.length === 0 || results.length >= page.count) return { results, totals: page.totals };
  }
}

/** One page of single calls; with `more` there are more than `count`. */
export const usageCalls = (query: string) => call<Page<UsageCall> & { more: boolean }>("GET", `usage?${query}`);

/** Why something is where it is, or where a call's time went, with all inputs. */
export const whyOf = (kind: Why["kind"], of: string) =>
  call<Why>("GET", `why?kind=${kind}&inputs=true&of=${encodeURIComponent(of)}`);

/** One page of what happened and was decided; `query` as `pages/decisions/decisions` writes it. */
export const decisions = (query: string) => call<Decisions>("GET", `decisions?${query}`);
/** Who was on which GPU in the last hours. */
export const timeline = (hours: number) => call<Timeline>("GET", `timeline?hours=${hours}`);

/** What a GPU, a replica or a node did in the last hours. */
export const historyOf = (subject: string, hours: number) =>
  call<History>("GET", `history?subject=${encodeURIComponent(subject)}&hours=${hours}`);

/** How fast calls of a served name were answered. */
export const speedOf = (model: string, hours: number) =>
  call<Speed>("GET", `usage/speed?model=${encodeURIComponent(model)}&hours=${hours}`);

/** The same of the calls that `query` narrows, as `pages/traffic/traffic` writes it. */
export const speedsOf = (query: string) => call<Speed>("GET", `usage/speed?${query}`);
/** Calls that ended, by deployment, key or team, and how they ended. */
export const figuresOf = (query: string) => call<Traffic>("GET", `usage/figures?${query}`);
/** Calls that have not ended: every gateway is asked. */
export const runningCalls = (query: string) => call<RunningCalls>("GET", `calls?${query}`);
export const cancelCall = (requestId: string) =>
  call<Cancelled>("POST", `calls/${encodeURIComponent(requestId)}/cancel`);

/** How the replicas of a deployment stood over time. */
export const lanesOf = (deployment: number, hours: number) =>
  call<Lanes>("GET", `deployments/${deployment}/lanes?hours=${hours}`);

/** The command that starts a replica's engine. */
export const launchOf = (replica: number) => call<Launch>("GET", `replicas/${replica}/launch`);

/** Captured calls of one deployment: the latest, newest first; with `after` those that came later, oldest first. */
export const captures = (deployment: number, after?: string) =>
  call<Captures>(
    "GET",
    `captures?deployment=${deployment}&limit=${CAPTURE_ROWS}${after === undefined ? "" : `&after=${after}`}`,
  );
export const clearCaptures = (deployment: number) => call<undefined>("DELETE", `captures?deployment=${deployment}`);

/** A chat, whose events are in the answer's body; `signal` ends it, also at the engine. */
export async function chat(given: object, signal: AbortSignal): Promise<Response> {
  const headers = { "Content-Type": "application/json", "X-CSRFToken": csrfToken() };
  const init = { method: "POST", headers, credentials: "same-origin", signal, body: JSON.stringify(given) } as const;
  let answer: Response;
  try {
    answer = await fetch("/api/playground", init);
  } catch (error) {
    if (signal.aborted) throw error;
    throw new ApiError(0, "unreachable", "Sardeenz does not answer. Is it running?");
  }
  if (!answer.ok) throw failure(answer.status, await answer.text());
  return answer;
}

/** The newest benchmarks, without their results. */
export const benchmarks = async () => (await call<Page<BenchmarkRow>>("GET", "benchmarks?limit=200")).results;
export const benchmark = (id: number) => call<Benchmark>("GET", `benchmarks/${id}`);
export const createBenchmark = (given: BenchmarkRequest) => call<BenchmarkRow>("POST", "benchmarks", given);
export const cancelBenchmark = (id: number) => call<BenchmarkRow>("POST", `benchmarks/${id}/cancel`);
export const deleteBenchmark = (id: number) => call<undefined>("DELETE", `benchmarks/${id}`);
