/** Calls that wait, in words. Pure. */
import type { DeploymentRow, Waiting } from "../api/types";
import { duration, plural } from "./format";

/** Deployments that calls wait for, the longest wait first. */
export function waited(deployments: readonly DeploymentRow[]): (DeploymentRow & { waiting: Waiting })[] {
  const found = deployments.flatMap((row) => (row.waiting ? [{ ...row, waiting: row.waiting }] : []));
  return found.sort((a, b) => Date.parse(a.waiting.since) - Date.parse(b.waiting.since));
}

/** "3 calls for 12 s". */
export function whoWaits({ count, since }: Waiting, now: number): string {
  return `${plural(count, ["# call", "# calls"])} for ${duration((now - Date.parse(since)) / 1000)}`;
}

/** When the wait should be over. */
export function whenOver({ expected_at: at }: Waiting, now: number): string {
  if (at === null) return "not known until when";
  const seconds = (Date.parse(at) - now) / 1000;
  return seconds < 1 ? "expected any moment" : `expected in ${duration(seconds)}`;
}
