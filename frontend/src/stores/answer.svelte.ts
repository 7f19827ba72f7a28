/** What the server last answered to one question that is asked again and again, and why it could not. */
import { untrack } from "svelte";
import { inWords } from "./verbs";

export class Answer<T> {
  value = $state.raw<T>();
  problem = $state<string>();
  private asked = 0;

  /** `words` says what an error means here. */
  constructor(private readonly words: (error: unknown) => string = inWords) {}

  /** Ask; what comes after a later question, or after `drop`, changes nothing. What was known stays until then. */
  async ask(question: () => Promise<T>): Promise<void> {
    this.asked += 1;
    const mine = this.asked;
    try {
      const value = await untrack(question);
      if (mine !== this.asked) return;
      this.value = value;
      this.problem = undefined;
    } catch (error) {
      if (mine === this.asked) this.problem = this.words(error);
    }
  }

  /** Nobody waits for the answers that are still to come. */
  drop(): void {
    this.asked += 1;
  }

  /** Know nothing. */
  forget(): void {
    this.drop();
    this.value = undefined;
    this.problem = undefined;
  }
}
