/** Where something would fit, asked of the server again and again while somebody looks. */
import { ApiError } from "../api/client";
import type { Fit } from "../api/types";
import { whileVisible } from "../live/visible";
import { Answer } from "../stores/answer.svelte";
import { inWords } from "../stores/verbs";

const REFRESH_SECONDS = 3;
const TYPING_MS = 250;

export class FitLook {
  /** What is wrong with the extra arguments, as far as they are typed. */
  flags = $state<string>();
  private readonly fit = new Answer<Fit>((error) => {
    this.flags = error instanceof ApiError ? error.at("extra_args") : undefined;
    return inWordsOf(error);
  });

  get problem(): string | undefined {
    return this.fit.problem;
  }

  get answer(): Fit | undefined {
    return this.problem === undefined ? this.fit.value : undefined;
  }

  /** Ask once nobody has typed for a moment; the result stops it. */
  begin(ask: () => Promise<Fit>): () => void {
    let stop: (() => void) | undefined;
    const timer = setTimeout(
      () => (stop = whileVisible(REFRESH_SECONDS, () => this.fit.ask(() => this.told(ask)))),
      TYPING_MS,
    );
    return () => {
      clearTimeout(timer);
      stop?.();
      this.fit.drop();
    };
  }

  private async told(ask: () => Promise<Fit>): Promise<Fit> {
    const found = await ask();
    this.flags = undefined;
    return found;
  }

  forget(): void {
    this.fit.forget();
  }
}

function inWordsOf(error: unknown): string {
  if (error instanceof ApiError && error.at("weights_bytes")) {
    return "Its files are not readable here, so its size is not known: write its weights to see whether it fits.";
  }
  return inWords(error);
}
