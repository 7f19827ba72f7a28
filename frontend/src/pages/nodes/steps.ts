/** Whether two answers foresee the same, whatever the seconds. Pure. */
import type { Plan } from "../../api/types";

export function sameSteps(one: Plan, other: Plan): boolean {
  return steps(one) === steps(other);
}

function steps({ outcome }: Plan): string {
  const told = outcome.steps.map(({ deployment, replica, does, gpus }) =>
    JSON.stringify([deployment, replica, does, gpus]),
  );
  return JSON.stringify([outcome.refused?.code, told.sort()]);
}
