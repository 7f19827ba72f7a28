/** Asking again and again, while somebody looks. */

/** Call `ask` now and `seconds` after each answer, but only while the page is seen; the result stops it. */
export function whileVisible(seconds: number, ask: () => Promise<void>): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let asking = false;
  let ended = false;

  async function turn(): Promise<void> {
    clearTimeout(timer);
    if (asking || ended || document.hidden) return;
    asking = true;
    try {
      await ask();
    } finally {
      asking = false;
      if (!ended) timer = setTimeout(turn, seconds * 1000);
    }
  }

  const seen = () => void turn();
  document.addEventListener("visibilitychange", seen);
  void turn();
  return () => {
    ended = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", seen);
  };
}
