import { describe, expect, it } from "vitest";
import { hoursRow } from "./usage.fake";
import * as usage from "./usage";

const NOW = Date.parse("2030-03-31T01:30:00Z"); // where clocks in Europe are about to change
const iso = (at: number) => new Date(at).toISOString();
const view = (given: Partial<usage.View> = {}): usage.View => ({ ...usage.FIRST_VIEW, ...given });

function within(given: Partial<usage.View>): usage.Bounds {
  const found = usage.bounds(view(given), NOW);
  if (typeof found === "string") throw new Error(found);
  return found;
}

describe("a span", () => {
  it.each([
    ["24h", "2030-03-30T02:00:00.000Z", "2030-03-31T02:00:00.000Z", 24],
    ["yesterday", "2030-03-30T00:00:00.000Z", "2030-03-31T00:00:00.000Z", 24],
    ["7d", "2030-03-25T00:00:00.000Z", "2030-04-01T00:00:00.000Z", 7],
    ["30d", "2030-03-02T00:00:00.000Z", "2030-04-01T00:00:00.000Z", 30],
  ] as const)("of %s is whole UTC hours or days up to the present one", (span, since, until, steps) => {
    const found = within({ span });
    expect([iso(found.since), iso(found.until), (found.until - found.since) / found.step]).toEqual([
      since,
      until,
      steps,
    ]);
  });

  it.each([
    ["2030-03-30", "2030-03-31", 48, usage.HOUR],
    ["2030-03-01", "2030-03-31", 31, usage.DAY],
    ["2029-04-01", "2030-03-31", 365 / 7, 7 * usage.DAY],
  ])("from %s to %s has both days, however clocks change", (from, to, steps, step) => {
    const found = within({ span: "custom", from, to });
    expect([found.step, (found.until - found.since) / found.step]).toEqual([step, steps]);
  });

  it.each([
    ["", "2030-03-31", "choose a first and a last day"],
    ["2030-03-31", "2030-03-30", "the last day is before the first"],
    ["2020-01-01", "2030-03-31", "choose at most 366 days"],
  ])("from %j to %j is refused: %s", (from, to, told) => {
    expect(usage.bounds(view({ span: "custom", from, to }), NOW)).toBe(told);
  });
});

describe("a query", () => {
  const asked = view({ span: "7d", by: "key", model: "chat & co", team: "2" });
  const inside = within(asked);
  const read = (query: string) => Object.fromEntries(new URLSearchParams(query));
  const both = { since: "2030-03-25T00:00:00.000Z", until: "2030-04-01T00:00:00.000Z", model: "chat & co", team: "2" };

  it("narrows sums to the filters", () => {
    expect(read(usage.groupsQuery(asked, inside))).toEqual({ ...both, group_by: "key" });
    expect(read(usage.barsQuery(asked, inside))).toEqual({ ...both, group_by: "day,key" });
    expect(read(usage.barsQuery(view(), within({})))["group_by"]).toBe("hour,model");
  });

  it("of the download is that of the chart", () => {
    const [path, query = ""] = usage.csvHref(asked, inside).split("?");
    expect([path, read(query)]).toEqual(["/api/usage/hours", { ...both, group_by: "day,key", format: "csv" }]);
  });

  it("pages through single calls", () => {
    expect(read(usage.callsQuery(asked, inside, "queue_full", 50, 25))).toEqual({
      ...both,
      outcome: "queue_full",
      offset: "50",
      limit: "25",
    });
    expect(read(usage.callsQuery(view(), within({}), "", 0, 25))).not.toHaveProperty("outcome");
  });
});

describe("a view", () => {
  it.each([
    view(),
    view({ span: "30d", by: "team", key: "7" }),
    view({ span: "custom", from: "2030-01-01", to: "2030-01-31", model: "a/b" }),
  ])("comes back from the address: %j", (given) => {
    expect(usage.viewFromQuery(usage.viewToQuery(given))).toEqual(given);
  });

  it("ignores what makes no sense", () => {
    expect(usage.viewFromQuery("?span=year&by=colour&page=2")).toEqual(view());
    expect(usage.viewToQuery(view({ from: "2030-01-01" }))).toBe("");
  });
});

describe("groups", () => {
  it("have names, also for what is nobody's", () => {
    const rows = [
      hoursRow({ key: 1, key_name: "app" }),
      hoursRow({ key: 2, key_name: "app" }),
      hoursRow({ key: null, key_name: null }),
    ];
    expect(usage.groups(rows, "key").map(({ id, name }) => [id, name])).toEqual([
      ["1", "app #1"],
      ["2", "app #2"],
      ["", "deleted keys"],
    ]);
    expect(usage.groups([hoursRow({ team: null, team_name: null })], "team")[0]).toMatchObject({
      id: "",
      name: "no team",
    });
    expect(usage.groups([hoursRow()], "model")[0]).toMatchObject({ id: "chat", name: "chat" });
  });

  it("are sorted, unknown last", () => {
    const rows = usage.groups(
      [
        hoursRow({ served_name: "b10", calls: 4, queue_seconds: 4 }),
        hoursRow({ served_name: "b9", calls: 2 }),
        hoursRow({ served_name: "a", calls: 0 }),
      ],
      "model",
    );
    const names = (...how: [usage.Column | "name", boolean]) => usage.sorted(rows, ...how).map((row) => row.name);
    expect(names("calls", true)).toEqual(["b10", "b9", "a"]);
    expect(names("queue", true)).toEqual(["b10", "b9", "a"]);
    expect(names("queue", false)).toEqual(["b9", "b10", "a"]);
    expect(names("name", false)).toEqual(["a", "b9", "b10"]);
  });

  it("are sorted by what 19 of 20 calls took, and say both quantiles", () => {
    const took = (served_name: string, e2e_p50_seconds: number | null, e2e_p95_seconds: number | null) =>
      hoursRow({ served_name, e2e_p50_seconds, e2e_p95_seconds });
    const rows = usage.groups([took("a", 1, 2), took("b", 0.1, 30), took("old", null, null)], "model");
    expect(usage.sorted(rows, "e2e", true).map((row) => row.name)).toEqual(["b", "a", "old"]);
  });

  it("without calls have no means", () => {
    const { failed, cached, queue } = usage.COLUMNS;
    expect([failed, cached, queue].map(({ of }) => of(hoursRow({ calls: 0 })))).toEqual([null, null, null]);
    expect([
      failed.of(hoursRow({ calls: 4, failed: 1 })),
      cached.of(hoursRow({ prompt_tokens: 8, cached_tokens: 2 })),
    ]).toEqual([0.25, 0.25]);
  });
});
