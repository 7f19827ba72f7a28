import { expect, it } from "vitest";
import { deployment, replica } from "../../live/rows.fake";
import { isMissing, placedCounts } from "./placed";

it("counts neither who leaves nor a move's copy, so that a raised number of replicas shows until it is met", () => {
  const counts = placedCounts([
    replica({ id: 1 }),
    replica({ id: 2, disposable: true }),
    replica({ id: 3, replaces: 1 }),
  ]);
  expect(counts.get(1)).toBe(1);
  expect(isMissing(deployment({ replicas: 1 }), counts)).toBe(false);
  expect(isMissing(deployment({ replicas: 2 }), counts)).toBe(true);
  expect(isMissing(deployment({ id: 2, replicas: 0 }), counts)).toBe(true);
});
