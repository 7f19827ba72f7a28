import { describe, expect, it } from "vitest";
import { bounds, drawn, placeOf } from "./lanes";
import { span, week } from "./policies.fake";

describe("a lane", () => {
  it("has a bar where its span lies", () => {
    const [lane] = drawn(week(span({ begins_at: "2026-10-19T12:00:00Z", ends_at: "2026-10-20T00:00:00Z" })));
    expect(lane?.bars.map(({ from, width, cut }) => [from, width, cut])).toEqual([[0.25, 0.25, ""]]);
  });

  it("cuts what reaches out of the week and says on which side", () => {
    const spans = [
      span({ begins_at: "2026-10-18T12:00:00Z", ends_at: "2026-10-19T12:00:00Z" }),
      span({ begins_at: "2026-10-20T12:00:00Z", ends_at: "2026-10-22T00:00:00Z" }),
      span({ begins_at: "2026-10-01T00:00:00Z", ends_at: "2026-11-22T00:00:00Z" }),
    ];
    const bars = drawn(week(...spans))[0]?.bars ?? [];
    const byCut = Object.fromEntries(bars.map((bar) => [bar.cut, [bar.from, bar.width]]));
    expect(byCut).toEqual({ begin: [0, 0.25], end: [0.75, 0.25], both: [0, 1] });
  });

  it("puts what overlaps in rows, the override first and then by precedence", () => {
    const spans = [span({ id: 1 }), span({ id: 2, precedence: 5 }), span({ id: 3, by: "override", precedence: 0 })];
    const [lane] = drawn(
      week(...spans, span({ id: 4, begins_at: "2026-10-20T08:00:00Z", ends_at: "2026-10-20T09:00:00Z" })),
    );
    expect(lane?.bars.map((bar) => [bar.span.id, bar.row])).toEqual([
      [3, 0],
      [2, 1],
      [1, 2],
      [4, 0],
    ]);
    expect(lane?.rows).toBe(3);
  });

  it("has a row even without a bar", () => expect(drawn(week())[0]?.rows).toBe(1));
});

it("an instant lies in the week or outside of it", () => {
  const held = bounds(week());
  expect(placeOf(Date.parse("2026-10-20T00:00:00Z"), held)).toBe(0.5);
  expect(placeOf(held.begins, held)).toBe(0);
  expect(placeOf(held.ends, held)).toBeUndefined();
  expect(placeOf(held.begins - 1, held)).toBeUndefined();
});
