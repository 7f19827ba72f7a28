/** What the page says about its own connection. Pure. */
import type { LinkState } from "./socket";

export type Connection = "connecting" | "live" | "stale" | "reconnecting";

export const STALE_SECONDS = 5;
/** So long nothing may be heard before the shell says since when what is shown is old. */
export const OLD_SECONDS = 3;

/** Since when rows or readings are old: a socket was lost, or both are open and no reading comes. */
export function oldSince(
  state: Connection,
  lostAt: number | undefined,
  frameAt: number | undefined,
): number | undefined {
  if (state === "reconnecting") return lostAt;
  return state === "stale" ? frameAt : undefined;
}

/** Live needs both sockets and a frame that came recently; `frameAge` is counted by this browser's own clock. */
export function connection(
  links: readonly LinkState[],
  everOpen: boolean,
  frameAgeSeconds: number | undefined,
): Connection {
  if (links.some((state) => state !== "open")) return everOpen ? "reconnecting" : "connecting";
  return frameAgeSeconds === undefined || frameAgeSeconds > STALE_SECONDS ? "stale" : "live";
}
