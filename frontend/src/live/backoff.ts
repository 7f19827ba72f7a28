/** Seconds to wait before the nth attempt to reconnect: doubling, at most 15 s, spread so that pages do not come together. */
export function backoffSeconds(attempt: number, random: number): number {
  const ceiling = Math.min(15, 0.5 * 2 ** Math.min(attempt, 10));
  return ceiling * (0.5 + random / 2);
}
