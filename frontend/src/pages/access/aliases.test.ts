import { describe, expect, it } from "vitest";
import { alias } from "./access.fake";
import { aliasDraft, aliasRequest, moved, sharesOf, sharesOfDraft, withTarget } from "./aliases";

const split = alias(["chat", 90], ["canary", 10], ["backup", 0]);
const ids = (targets: { deployment: string }[]) => targets.map((target) => target.deployment).join("");

describe("an alias", () => {
  it("splits its calls by weight", () => {
    expect(sharesOf(split).map(({ name, ratio }) => [name, ratio])).toEqual([
      ["chat", 0.9],
      ["canary", 0.1],
      ["backup", 0],
    ]);
    expect(sharesOf(alias())).toEqual([]);
  });

  it("comes back from the form as it was", () => {
    expect(aliasRequest(aliasDraft(split))).toEqual({
      request: {
        name: "gpt-4",
        targets: [
          { deployment: 1, weight: 90 },
          { deployment: 2, weight: 10 },
          { deployment: 3, weight: 0 },
        ],
      },
      wrong: {},
    });
  });

  it.each([
    [[["", "1"]], "choose a deployment in each row"],
    [
      [
        ["1", "1"],
        ["1", "2"],
      ],
      "each deployment can stand there once",
    ],
    [[["1", "half"]], "write weights as whole numbers from 0"],
    [[["1", ""]], "write weights as whole numbers from 0"],
    [
      [
        ["1", "0"],
        ["2", "0"],
      ],
      "at least one weight must be above 0",
    ],
  ])("of %j is refused: %s", (rows, told) => {
    const targets = rows.map(([deployment = "", weight = ""], row) => ({ row, deployment, weight }));
    expect(aliasRequest({ name: "a", targets }).wrong).toEqual({ targets: told });
  });

  it("shows its split while it is written", () => {
    const rows = [["1", "3"], ["", "5"], ["2", "1"], ["2", "9"], ["3", "x"]]; // prettier-ignore
    const targets = rows.map(([deployment = "", weight = ""], row) => ({ row, deployment, weight }));
    const names = new Map([[1, "chat"]]);
    expect(sharesOfDraft({ name: "", targets }, (id) => names.get(id)).map(({ name, ratio }) => [name, ratio])).toEqual(
      [
        ["chat", 0.75],
        ["2", 0.25],
        ["3", 0],
      ],
    );
  });

  it("asks for a name", () => {
    expect(aliasRequest({ ...aliasDraft(split), name: " " }).wrong).toEqual({ name: "give it a name" });
  });

  it("has its fallbacks moved, and not past the ends", () => {
    const { targets } = aliasDraft(split);
    expect([moved(targets, 2, -1), moved(targets, 0, 1), moved(targets, 0, -1), moved(targets, 2, 1)].map(ids)).toEqual(
      ["132", "213", "123", "123"],
    );
  });

  it("gets new rows that are told apart", () => {
    const rows = withTarget(withTarget(aliasDraft(split).targets.slice(2)));
    expect(new Set(rows.map((row) => row.row)).size).toBe(3);
    expect(rows.at(-1)).toMatchObject({ deployment: "", weight: "0" });
    expect(withTarget([])).toEqual([{ row: 0, deployment: "", weight: "1" }]);
  });
});
