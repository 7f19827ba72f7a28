/** Which dialog is open. One at a time. */
import type {
  Alias,
  BenchmarkRow,
  DeploymentRow,
  DrillKind,
  GPURow,
  Key,
  NewKey,
  ReplicaRow,
  Runtime,
  Team,
  WindowRow,
} from "../api/types";
import type { Machine } from "../api/client";
import type { WhySubject } from "../lib/why";

export interface Question {
  title: string;
  text: string;
  action: string;
  /** The same as `/api/plans` takes it: what it would do is shown. */
  wish?: object;
  /** It is easily undone. */
  calm?: boolean;
  run: () => Promise<void>;
}

export type Open =
  | { kind: "confirm"; question: Question }
  | { kind: "move"; replica: ReplicaRow; gpu: string | undefined }
  | { kind: "deploy"; deployment: DeploymentRow | undefined; model: number | undefined }
  | { kind: "key"; key: Key | undefined }
  | { kind: "made"; key: NewKey }
  | { kind: "team"; team: Team | undefined }
  | { kind: "why"; subject: WhySubject }
  | { kind: "history"; gpu: GPURow }
  | { kind: "terms"; find: string }
  | { kind: "maintenance"; verb: "cordon" | "drain"; name: string; subject: Machine }
  | { kind: "window"; window: WindowRow | undefined }
  | { kind: "timers"; deployment: DeploymentRow }
  | { kind: "runtime"; runtime: Runtime | undefined }
  | { kind: "token"; runtimes: readonly Runtime[] }
  | { kind: "benchmark"; of: BenchmarkRow | undefined; drill: DrillKind | undefined }
  | { kind: "alias"; alias: Alias | undefined };

class Dialogs {
  open = $state.raw<Open>();
  /** The replica whose log is shown. */
  log = $state<number>();

  confirm(question: Question): void {
    this.open = { kind: "confirm", question };
  }

  /** Ask where to; `gpu` is chosen already. */
  move(replica: ReplicaRow, gpu?: string): void {
    this.open = { kind: "move", replica, gpu };
  }

  /** A form for a new deployment, of `model` if one is given, or for one there is. */
  deploy(deployment?: DeploymentRow, model?: number): void {
    this.open = { kind: "deploy", deployment, model };
  }

  key(key?: Key): void {
    this.open = { kind: "key", key };
  }

  /** Show a key for the only time. */
  made(key: NewKey): void {
    this.open = { kind: "made", key };
  }

  team(team?: Team): void {
    this.open = { kind: "team", team };
  }

  alias(alias?: Alias): void {
    this.open = { kind: "alias", alias };
  }

  /** A form for a new window, or for one there is. */
  window(window?: WindowRow): void {
    this.open = { kind: "window", window };
  }

  /** A form for a new benchmark, filled as another was asked, or for a drill. */
  benchmark(of?: BenchmarkRow, drill?: DrillKind): void {
    this.open = { kind: "benchmark", of, drill };
  }

  /** When a deployment that nobody asks for sleeps and stops. */
  timers(deployment: DeploymentRow): void {
    this.open = { kind: "timers", deployment };
  }

  /** A form for a new runtime, or for one there is. */
  runtime(runtime?: Runtime): void {
    this.open = { kind: "runtime", runtime };
  }

  /** A form for the Hub token of these. */
  token(runtimes: readonly Runtime[]): void {
    this.open = { kind: "token", runtimes };
  }

  /** What a GPU did until now. */
  history(gpu: GPURow): void {
    this.open = { kind: "history", gpu };
  }

  /** Cordon or drain a GPU or a node, once somebody has seen what that would do. */
  maintenance(verb: "cordon" | "drain", name: string, subject: Machine): void {
    this.open = { kind: "maintenance", verb, name, subject };
  }

  /** Say what the words of the pages mean, those that have `find` at first. */
  terms(find = ""): void {
    this.open = { kind: "terms", find };
  }

  /** Say why something is where it is, or where a call's time went. */
  why(subject: WhySubject): void {
    this.open = { kind: "why", subject };
  }

  close(): void {
    this.open = undefined;
  }
}

export const dialogs = new Dialogs();
