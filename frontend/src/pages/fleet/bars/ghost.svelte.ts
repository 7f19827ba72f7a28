/** What the next change by the clock would leave reserved on each GPU, if the fleet stood as it does now. */
import { ahead } from "../../../api/client";
import type { Ahead } from "../../../api/types";
import { whileVisible } from "../../../live/visible";
import { Answer } from "../../../stores/answer.svelte";
import { shadesOf, type Shade } from "./shades";

const REFRESH_SECONDS = 120;

class Ghost {
  private readonly answer = new Answer<Ahead>();
  private readonly shades = $derived(shadesOf(this.answer.value));

  /** Ask now and then about the instant of the next change; the result stops it. */
  follow(at: string): () => void {
    const stop = whileVisible(REFRESH_SECONDS, () => this.answer.ask(() => ahead(at)));
    return () => {
      stop();
      this.answer.forget();
    };
  }

  /** Undefined where nothing changes. */
  of(uuid: string): Shade | undefined {
    return this.shades.get(uuid);
  }
}

export const ghost = new Ghost();
