import { expect, it } from "vitest";
import { optionsLike } from "./options";

const option = (name: string, meaning: string, is_set = false) => ({
  name,
  meaning,
  is_set,
  default: "1",
  value: is_set ? "2" : null,
});
const GROUPS = [
  { title: "Calls", options: [option("SARDEENZ_BODY", "largest request"), option("SARDEENZ_WAIT", "a wait", true)] },
  { title: "Node", options: [option("SARDEENZ_GPUS", "which GPUs")] },
];
const names = (find: string, onlySet = false) =>
  optionsLike(GROUPS, find, onlySet).flatMap((group) => group.options.map((one) => one.name));

it("finds variables by name and by meaning, and drops groups without any", () => {
  expect(names("")).toHaveLength(3);
  expect(names(" gpus ")).toEqual(["SARDEENZ_GPUS"]);
  expect(names("request")).toEqual(["SARDEENZ_BODY"]);
  expect(optionsLike(GROUPS, "request", false)).toHaveLength(1);
  expect(names("nothing like it")).toEqual([]);
});

it("shows what is set, if asked", () => {
  expect(names("", true)).toEqual(["SARDEENZ_WAIT"]);
});
