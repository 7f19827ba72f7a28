import { describe, expect, it } from "vitest";
import type { Waiting } from "../api/types";
import { deployment } from "../live/rows.fake";
import { waited, whenOver, whoWaits } from "./waiting";

const NOW = Date.parse("2026-01-01T00:00:30Z");
const waits = (given: Partial<Waiting> = {}): Waiting => ({
  count: 1,
  since: "2026-01-01T00:00:18Z",
  expected_at: null,
  reason: "wake",
  message: "it wakes",
  ...given,
});

describe("calls that wait", () => {
  it("are counted since the first came", () => {
    expect(whoWaits(waits({ count: 3 }), NOW)).toBe("3 calls for 12 s");
    expect(whoWaits(waits({ since: "2026-01-01T00:00:31Z" }), NOW)).toBe("1 call for 0 s");
  });

  it("are told until when, where that is known", () => {
    expect(whenOver(waits(), NOW)).toBe("not known until when");
    expect(whenOver(waits({ expected_at: "2026-01-01T00:02:00Z" }), NOW)).toBe("expected in 1 min 30 s");
    expect(whenOver(waits({ expected_at: "2026-01-01T00:00:29Z" }), NOW)).toBe("expected any moment");
  });

  it("stand by the longest wait; who has none is left out", () => {
    const rows = [
      deployment({ id: 1, name: "new", waiting: waits() }),
      deployment({ id: 2, name: "none" }),
      deployment({ id: 3, name: "old", waiting: waits({ since: "2026-01-01T00:00:01Z" }) }),
    ];
    expect(waited(rows).map((row) => row.name)).toEqual(["old", "new"]);
  });
});
