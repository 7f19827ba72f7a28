/** How the installation is set up, and its runtimes: read when they are looked at and after each change. */
import { ApiError, deleteRuntime, runtimes, settings as ask } from "../../api/client";
import type { Runtime, Settings as Shown } from "../../api/types";
import { Answer } from "../../stores/answer.svelte";
import { dialogs } from "../../stores/dialogs.svelte";
import { notices } from "../../stores/notices.svelte";
import { session } from "../../stores/session.svelte";
import { inWords } from "../../stores/verbs";

interface Known {
  runtimes: readonly Runtime[];
  settings: Shown;
}

class Settings {
  private readonly known = new Answer<Known>();

  get value(): Known | undefined {
    return this.known.value;
  }

  get problem(): string | undefined {
    return this.known.problem;
  }

  /** Read both. What was read before stays until then. */
  async read(): Promise<void> {
    await this.known.ask(async () => {
      try {
        const [found, shown] = await Promise.all([runtimes(), ask()]);
        return { runtimes: found, settings: shown };
      } catch (error) {
        if (error instanceof ApiError && error.status === 401) await session.look();
        throw error;
      }
    });
  }

  /** Another person may sign in. */
  forget(): void {
    this.known.forget();
  }

  /** Delete a runtime once somebody said yes. */
  confirmDelete(runtime: Runtime): void {
    dialogs.confirm({
      title: `Delete ${runtime.name}?`,
      text: "No deployment can be started with it any more; what is installed on the machine stays.",
      action: "Delete",
      run: async () => {
        try {
          await deleteRuntime(runtime.id);
          notices.done(`${runtime.name} is deleted.`);
        } catch (error) {
          notices.error(`${runtime.name}, delete: ${inWords(error)}`);
        }
        await this.read();
      },
    });
  }
}

export const settings = new Settings();
session.atEnd(() => settings.forget());
