import { describe, expect, it } from "vitest";
import { grouped, inPlace, PAGES, pageOf, tabOf, thingOf } from "./pages";

it.each([
  ["/", "fleet", "keys"],
  ["/deployments/chat-7.b", "deployments", "keys"],
  ["/access", "access", "keys"],
  ["/access/teams", "access", "teams"],
  ["/access/nothing", "none", "keys"],
  ["/policies", "policies", "keys"],
  ["/usage", "usage", "keys"],
  ["/traffic", "traffic", "keys"],
  ["/usages", "none", "keys"],
  ["/benchmarks", "benchmarks", "keys"],
  ["/benchmarks/7", "benchmarks", "keys"],
  ["/benchmarks/compare", "benchmarks", "keys"],
  ["/benchmarks/7/more", "none", "keys"],
  ["/api/deploymens", "none", "keys"],
  ["/anything/else", "none", "keys"],
])("%s is the page %s", (path, page, tab) => expect([pageOf(path), tabOf(path)]).toEqual([page, tab]));

describe("a link", () => {
  const HERE = "http://127.0.0.1:8000";
  const click = { button: 0, altKey: false, ctrlKey: false, metaKey: false, shiftKey: false, defaultPrevented: false };
  const link = (path: string) => ({ href: new URL(path, HERE).href, target: "", download: "" });

  it.each([
    ["/", "/"],
    ["/access/aliases", "/access/aliases"],
    ["/usage?days=7", "/usage?days=7"],
    ["/benchmarks/compare?ids=3,4", "/benchmarks/compare?ids=3,4"],
    ["/api/benchmarks/3?format=csv", undefined],
    ["/access/none", undefined],
    ["/admin/", undefined],
    ["/api/usage/hours?format=csv", undefined],
    ["/usage#top", undefined],
    ["https://elsewhere.example/usage", undefined],
  ])("to %s shows %s in place", (path, shown) => expect(inPlace(click, link(path), HERE)).toBe(shown));

  it.each([
    { button: 1 },
    { altKey: true },
    { ctrlKey: true },
    { metaKey: true },
    { shiftKey: true },
    { defaultPrevented: true },
  ])("clicked with %j is the browser's", (how) =>
    expect(inPlace({ ...click, ...how }, link("/usage"), HERE)).toBeUndefined(),
  );

  it.each([{ target: "_blank" }, { download: "usage.csv" }])("with %j is the browser's", (how) =>
    expect(inPlace(click, { ...link("/usage"), ...how }, HERE)).toBeUndefined(),
  );
});

it.each([
  ["/things", "things", ""],
  ["/things/chat", "things", "chat"],
  ["/things/a%20b", "things", "a b"],
  ["/things/%E0%A4%A", "none", ""],
  ["/things/", "none", ""],
  ["/things/chat/log", "none", ""],
  ["/plain/chat", "none", ""],
])("%s is %s, of the thing '%s'", (path, page, thing) => {
  const pages = [
    { page: "things", href: "/things", word: "Things", things: true },
    { page: "plain", href: "/plain", word: "Plain" },
  ] as const;
  expect([pageOf(path, pages), thingOf(path, pages)]).toEqual([page, thing]);
});

it("every page stands in one group, also one that no group names", () => {
  const pages = [...PAGES, { page: "unheard-of" }];
  const found = grouped<{ page: string }>(pages).flatMap((group) => group.pages);
  expect(found.map(({ page }) => page).sort()).toEqual(pages.map(({ page }) => page).sort());
  expect(grouped(PAGES)[0]?.word).toBe("Run");
});
