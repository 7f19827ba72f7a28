/** Which dialog is open. One at a time. */
import type { DeploymentRow, ReplicaRow } from "../api/types";

export interface Question {
  title: string;
  text: string;
  action: string;
  run: () => Promise<void>;
}

export type Open =
  | { kind: "confirm"; question: Question }
  | { kind: "move"; replica: ReplicaRow }
  | { kind: "deploy"; deployment: DeploymentRow | undefined };

class Dialogs {
  open = $state.raw<Open>();
  /** The replica whose log is shown. */
  log = $state<number>();

  confirm(question: Question): void {
    this.open = { kind: "confirm", question };
  }

  move(replica: ReplicaRow): void {
    this.open = { kind: "move", replica };
  }

  deploy(deployment?: DeploymentRow): void {
    this.open = { kind: "deploy", deployment };
  }

  close(): void {
    this.open = undefined;
  }
}

export const dialogs = new Dialogs();
