/** What the forms of dialogs share: ask, say at each field what was refused, and put the cursor there. */
import { tick } from "svelte";
import { ApiError } from "../api/client";
import { inWords } from "./verbs";

export class Form {
  wrong = $state.raw<Record<string, string>>({});
  /** What is wrong with no field in particular. */
  failure = $state<string>();
  busy = $state(false);

  /** `fields`: those that the form shows. */
  constructor(private readonly fields: readonly string[] | (() => readonly string[])) {}

  /** Ask, unless something is wrong already. */
  async submit(wrong: Record<string, string>, ask: () => Promise<void>): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    this.failure = undefined;
    this.wrong = wrong;
    try {
      if (Object.keys(wrong).length === 0) await ask();
    } catch (error) {
      this.refused(error);
    } finally {
      this.busy = false;
    }
    await pointOut();
  }

  private refused(error: unknown): void {
    const told = (field: string) => (error instanceof ApiError ? error.at(field) : undefined);
    const fields = typeof this.fields === "function" ? this.fields() : this.fields;
    const found = fields.flatMap((field) => [[field, told(field) ?? ""] as const]).filter(([, text]) => text);
    // What is said of a field inside another is not said again of the whole.
    this.wrong = Object.fromEntries(found.filter(([field]) => !found.some(([other]) => other.startsWith(`${field}.`))));
    if (Object.keys(this.wrong).length === 0) this.failure = inWords(error);
  }
}

/** Bring what is wrong into view and put the cursor there. */
async function pointOut(): Promise<void> {
  await tick();
  document.querySelector<HTMLElement>("dialog [aria-invalid=true], dialog .failure")?.focus();
}
