import { expect, it } from "vitest";
import { asked, soughtFromQuery, soughtToQuery } from "./decisions";

const QUERY = "kind=eviction&actor=ann&deployment=chat&gpu=GPU-1&since=2026-01-01T00%3A00&offset=50";

it("an address is read back", () => expect(soughtToQuery(soughtFromQuery(`?${QUERY}`))).toBe(QUERY));

it.each([
  ["kind=rumour", ""],
  ["offset=-1", ""],
  ["offset=many", ""],
])("of %s nothing is kept", (query, kept) => expect(soughtToQuery(soughtFromQuery(query))).toBe(kept));

it("asks in UTC, and for limits only where they are wanted", () => {
  const sought = new URLSearchParams(asked(soughtFromQuery(QUERY)));
  expect([sought.get("since"), sought.get("kind"), sought.get("limit")]).toEqual([
    "2026-01-01T00:00Z",
    "eviction",
    "50",
  ]);
  expect(new URLSearchParams(asked(soughtFromQuery(""))).get("kind")?.split(",")).not.toContain("limit");
  expect(new URLSearchParams(asked(soughtFromQuery("kind=limit"))).get("kind")).toBe("limit");
});
