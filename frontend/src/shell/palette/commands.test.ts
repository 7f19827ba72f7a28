import { expect, it } from "vitest";
import { deployment, replica } from "../../live/rows.fake";
import { commands, matching } from "./commands";

const done: string[] = [];
const can = {
  go: (href: string) => void done.push(href),
  operations: () => void done.push("operations"),
  explain: (word: string) => void done.push(word),
  why: () => void done.push("why"),
  edit: () => void done.push("edit"),
  ask: (_: unknown, verb: string) => void done.push(verb),
};
const PAGES = [
  { href: "/", word: "Fleet" },
  { href: "/usage", word: "Usage" },
];

function all(operator = true) {
  const chat = deployment({ id: 1, name: "chat", served_name: "org/chat" });
  const one = replica({ id: 7, deployment: 1, deployment_name: "chat" });
  const verbs = { ...one.verbs, sleep: null, wake: "it is awake" };
  return commands({ pages: PAGES, deployments: [chat], replicas: [{ ...one, verbs }], operator }, can);
}

it("shows the pages until something is typed", () =>
  expect(matching("", all()).map(({ label }) => label)).toEqual(["Fleet", "Usage"]));

it("finds by every word, what can be done first", () => {
  expect(matching("sle cha", all())[0]?.label).toBe("Sleep chat");
  expect(matching("chat", all()).at(0)?.refused).toBeUndefined();
  expect(matching("wake", all())[0]?.refused).toBe("it is awake");
  expect(matching("nothing like it", all())).toEqual([]);
});

it("does what it says", () => {
  for (const typed of ["usage", "sleep chat", "why chat", "try chat", "under way", "meant orph"])
    matching(typed, all())[0]?.run();
  expect(done).toEqual(["/usage", "sleep", "why", "/playground?model=org%2Fchat", "operations", "Orphan"]);
});

it("says to a viewer why nothing can be changed", () =>
  expect(matching("sleep chat", all(false))[0]?.refused).toContain("staff"));
