import { describe, expect, it } from "vitest";
import { deployment } from "../live/rows.fake";
import { governed, nextChange, settingWords } from "./governed";

it.each([
  ["level", "asleep_2", "asleep at level 2"],
  ["level", "by_hand", "as the operator set it"],
  ["priority", -1, "priority -1"],
  ["kv_cap_bytes", 30 * 1024 ** 3, "KV cap 30 GiB"],
  ["kv_cap_bytes", null, "no KV cap"],
  ["pinned", false, "not pinned"],
  ["queue_seconds", 90, "longest wait in the queue 1 min 30 s"],
  ["queue_limit", 0, "longest queue 0"],
] as const)("%s %s is %s", (field, value, words) => expect(settingWords(field, value)).toBe(words));

describe("who governs a deployment", () => {
  it("is told once for all that each decides", () => {
    const row = deployment({
      in_force: {
        level: { value: "awake", by: "window", name: "work", id: 1 },
        priority: { value: 9, by: "override", name: "olive", id: 4 },
        kv_weight: { value: 4, by: "window", name: "work", id: 1 },
      },
    });
    expect(governed(row)).toEqual([
      { who: "window work", by: "window", words: "awake, KV weight 4" },
      { who: "override by olive", by: "override", words: "priority 9" },
    ]);
  });

  it("is nobody where its own settings act", () => expect(governed(deployment())).toEqual([]));
});

it("the next change is the first, with all whom it touches", () => {
  const at = (name: string, changes_at: string | null) => ({ name, changes_at });
  expect(nextChange([at("chat", null)])).toBeUndefined();
  expect(
    nextChange([
      at("chat", "2026-11-30T08:00:00+00:00"),
      at("code", "2026-11-30T09:00:00+01:00"),
      at("late", "2026-12-01T08:00:00Z"),
    ]),
  ).toEqual({ at: "2026-11-30T08:00:00.000Z", names: ["chat", "code"] });
});
