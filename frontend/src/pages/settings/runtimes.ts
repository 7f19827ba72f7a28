/** What the form of a runtime holds, as text, and the request it becomes. Pure. */
import type { Runtime, RuntimeRequest } from "../../api/types";

export const KINDS: Readonly<Record<Runtime["kind"], string>> = {
  "vllm-cuda": "vLLM on GPUs",
  "vllm-cpu": "vLLM on CPUs",
  simulator: "simulator",
};

/** How the server writes a value that it tells nobody, and how it is told to keep it. */
const KEPT = "(hidden)";
export const HUB_TOKEN = "HF_TOKEN";

export interface VariableDraft {
  name: string;
  value: string;
  /** It has a value that nobody is told; what is written here takes its place. */
  hidden: boolean;
}

export interface RuntimeDraft {
  name: string;
  kind: Runtime["kind"];
  executable: string;
  version: string;
  kvcached: boolean;
  variables: VariableDraft[];
}

/** The runtime as it is, or a new one. */
export function runtimeDraft(of?: Runtime): RuntimeDraft {
  return {
    name: of?.name ?? "",
    kind: of?.kind ?? "vllm-cuda",
    executable: of?.executable ?? "",
    version: of?.version ?? "",
    kvcached: of?.kvcached ?? true,
    variables: Object.entries(of?.environment ?? {}).map(([name, value]) =>
      value === KEPT ? { name, value: "", hidden: true } : { name, value, hidden: false },
    ),
  };
}

/** The runtime to write, or what is wrong by field. */
export function runtimeRequest(given: RuntimeDraft): { request: RuntimeRequest; wrong: Record<string, string> } {
  const wrong: Record<string, string> = {};
  const environment: Record<string, string> = {};
  for (const { name, value, hidden } of given.variables) {
    const variable = name.trim();
    if (!variable && !value) continue;
    if (!variable) wrong["environment"] = "a value has no variable: name it, or remove the row";
    else if (variable in environment) wrong["environment"] = `${variable} stands there twice`;
    else environment[variable] = hidden && value === "" ? KEPT : value;
  }
  if (!given.name.trim()) wrong["name"] = "give it a name";
  const { kind, kvcached } = given;
  const [name, executable, version] = [given.name, given.executable, given.version].map((text) => text.trim()) as [
    string,
    string,
    string,
  ];
  return { request: { name, kind, executable, version, kvcached, environment }, wrong };
}

/** What to write of a runtime for another Hub token; empty takes the token away. */
export function withToken(runtime: Runtime, token: string): { environment: Record<string, string> } {
  const rest = Object.fromEntries(Object.entries(runtime.environment ?? {}).filter(([name]) => name !== HUB_TOKEN));
  return { environment: token ? { ...rest, [HUB_TOKEN]: token } : rest };
}

/** Whether engines of this runtime have a Hub token. */
export function hasToken(runtime: Runtime): boolean {
  return HUB_TOKEN in (runtime.environment ?? {});
}
