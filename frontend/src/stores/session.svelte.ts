/** Who is signed in. `undefined` while that is not known yet, `null` when nobody is. */
import { ApiError, logOut, me } from "../api/client";
import type { Me } from "../api/types";

class Session {
  user = $state.raw<Me | null>();
  problem = $state<string>();
  private readonly forgetting: (() => void)[] = [];

  /** What is known for one person is forgotten before another may sign in. */
  atEnd(forget: () => void): void {
    this.forgetting.push(forget);
  }

  /** Forget what was known for the one who was signed in. */
  forget(): void {
    for (const each of this.forgetting) each();
  }

  /** Ask the server; a session that has ended leads to the sign-in page. */
  async look(): Promise<void> {
    try {
      this.user = await me();
      this.problem = undefined;
    } catch (error) {
      if (error instanceof ApiError && error.status !== 0 && error.status < 500) this.user = null;
      else if (this.user === undefined) this.problem = (error as Error).message;
    }
  }

  /** End the session, here even if the server cannot be told. */
  async end(): Promise<void> {
    await logOut().catch(() => undefined);
    this.user = null;
  }
}

export const session = new Session();
