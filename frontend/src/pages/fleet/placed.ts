/** Which deployments lack replicas. Pure. */
import type { DeploymentRow, ReplicaRow } from "../../api/types";

/** How many replicas count for each deployment: neither on their way out nor the copy that a move makes. */
export function placedCounts(replicas: readonly ReplicaRow[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const { deployment, disposable, replaces } of replicas) {
    if (!disposable && replaces === null) counts.set(deployment, (counts.get(deployment) ?? 0) + 1);
  }
  return counts;
}

/** Whether a deployment has fewer replicas than it wants, or none to be seen. */
export function isMissing(deployment: DeploymentRow, counts: ReadonlyMap<number, number>): boolean {
  const placed = counts.get(deployment.id) ?? 0;
  return placed === 0 || placed < deployment.replicas;
}
