/** Where something would fit, asked of the server again and again while somebody looks. */
import { ApiError } from "../api/client";
import type { Fit } from "../api/types";
import { whileVisible } from "../live/visible";
import { inWords } from "../stores/verbs";

const REFRESH_SECONDS = 3;
const TYPING_MS = 250;

export class FitLook {
  answer = $state.raw<Fit>();
  problem = $state<string>();
  private asked = 0;

  /** Ask once nobody has typed for a moment; the result stops it. */
  begin(ask: () => Promise<Fit>): () => void {
    let stop: (() => void) | undefined;
    const timer = setTimeout(() => (stop = whileVisible(REFRESH_SECONDS, () => this.look(ask))), TYPING_MS);
    return () => {
      clearTimeout(timer);
      stop?.();
      this.asked += 1;
    };
  }

  forget(): void {
    this.answer = undefined;
    this.problem = undefined;
  }

  private async look(ask: () => Promise<Fit>): Promise<void> {
    this.asked += 1;
    const mine = this.asked;
    try {
      const answer = await ask();
      if (mine !== this.asked) return;
      this.answer = answer;
      this.problem = undefined;
    } catch (error) {
      if (mine !== this.asked) return;
      this.answer = undefined;
      this.problem = inWordsOf(error);
    }
  }
}

function inWordsOf(error: unknown): string {
  if (error instanceof ApiError && error.at("weights_bytes")) {
    return "Its files are not readable here, so its size is not known: write its weights to see whether it fits.";
  }
  return inWords(error);
}
