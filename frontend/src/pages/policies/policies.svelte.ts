/** Windows, overrides and what is in force: read while they are looked at and after each change, and changed here. */
import { ApiError, changeWindow, deleteWindow, endOverride, inForce, overrides, week, windows } from "../../api/client";
import type { InForce, OverrideRow, Week, WindowRow } from "../../api/types";
import { Answer } from "../../stores/answer.svelte";
import { dialogs } from "../../stores/dialogs.svelte";
import { notices } from "../../stores/notices.svelte";
import { session } from "../../stores/session.svelte";
import { inWords } from "../../stores/verbs";
import type { View } from "./view";

interface Known {
  windows: readonly WindowRow[];
  overrides: readonly OverrideRow[];
  week: Week;
  inForce: InForce;
}

class Policies {
  private readonly known = new Answer<Known>();
  private view: View | undefined;

  get value(): Known | undefined {
    return this.known.value;
  }

  get problem(): string | undefined {
    return this.known.problem;
  }

  /** Read all of what a view shows. What was read before stays until then. */
  async look(view: View): Promise<void> {
    this.view = view;
    const at = view.at === undefined ? undefined : new Date(view.at).toISOString();
    await this.known.ask(async () => {
      try {
        const [all, words, drawn, now] = await Promise.all([
          windows(),
          overrides(),
          week(view.zone, view.day || undefined),
          inForce(at),
        ]);
        return { windows: all, overrides: words, week: drawn, inForce: now };
      } catch (error) {
        if (error instanceof ApiError && error.status === 401) await session.look();
        throw error;
      }
    });
  }

  /** Read again what is looked at. */
  async again(): Promise<void> {
    if (this.view !== undefined) await this.look(this.view);
  }

  forget(): void {
    this.known.forget();
    this.view = undefined;
  }

  pause(window: WindowRow, paused: boolean): Promise<void> {
    const done = paused ? `${window.name} is paused: it changes nothing.` : `${window.name} counts again.`;
    return this.change(done, `${window.name}, ${paused ? "pause" : "resume"}`, () =>
      changeWindow(window.id, { paused }),
    );
  }

  /** Delete a window once somebody said yes. */
  confirmDelete(window: WindowRow): void {
    dialogs.confirm({
      title: `Delete ${window.name}?`,
      text: "What it governs now is at once as it is without it. To keep it for later, pause it instead.",
      action: "Delete",
      run: () => this.change(`${window.name} is deleted.`, `${window.name}, delete`, () => deleteWindow(window.id)),
    });
  }

  end(override: OverrideRow): Promise<void> {
    const name = override.deployment_name;
    return this.change(`Windows decide over ${name} again.`, `Override of ${name}, end`, () =>
      endOverride(override.id),
    );
  }

  private async change(done: string, what: string, ask: () => Promise<unknown>): Promise<void> {
    try {
      await ask();
      notices.done(done);
    } catch (error) {
      notices.error(`${what}: ${inWords(error)}`);
    }
    await this.again();
  }
}

export const policies = new Policies();
session.atEnd(() => policies.forget());
