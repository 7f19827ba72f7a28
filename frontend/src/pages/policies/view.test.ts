import { describe, expect, it } from "vitest";
import { daysLater, searchOf, viewOf } from "./view";

const HERE = "Europe/Berlin";

describe("the view of an address", () => {
  it("is this week by the browser's clock where nothing is said", () => {
    expect(viewOf("", HERE)).toEqual({ zone: HERE, day: "", at: undefined });
    expect(searchOf(viewOf("", HERE), HERE)).toBe("");
  });

  it.each(["?zone=America%2FNew_York&day=2026-11-02", "?day=2026-11-02&at=2026-11-03T08%3A15%3A00Z", "?zone=UTC"])(
    "%s is written as it was read",
    (search) => expect(searchOf(viewOf(search, HERE), HERE)).toBe(search),
  );

  it("leaves out what cannot be read", () => {
    expect(viewOf("?day=tomorrow&at=soon&zone=", HERE)).toEqual({ zone: HERE, day: "", at: undefined });
  });
});

it.each([
  ["2026-03-29", 1, "2026-03-30"],
  ["2026-10-26", -7, "2026-10-19"],
  ["2026-12-31", 1, "2027-01-01"],
])("%s and %i days is %s", (day, count, later) => expect(daysLater(day, count)).toBe(later));
