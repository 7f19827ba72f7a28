import { expect, it } from "vitest";
import { fleetView } from "./view";

it.each([
  ["", 2, "cards"],
  ["", 16, "cards"],
  ["", 17, "dense"],
  ["?view=cards", 64, "cards"],
  ["?view=dense", 1, "dense"],
  ["?view=none", 64, "dense"],
])("shows %j of %i GPUs as %s", (search, gpus, view) => {
  expect(fleetView(search, gpus)).toBe(view);
});
