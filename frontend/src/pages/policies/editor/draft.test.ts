import { describe, expect, it } from "vitest";
import { stateDraft, windowDraft, windowRequest, withState } from "./draft";
import { windowRow } from "../policies.fake";
import { askedOf, daysWords, whenWords } from "../words";

const HERE = "Europe/Berlin";

describe("the form of a window", () => {
  it("asks for the same window when nothing is changed, to the byte and second", () => {
    const row = windowRow();
    const { request, wrong } = windowRequest(windowDraft(HERE, row), row);
    expect(wrong).toEqual({});
    expect(request).toEqual({
      name: "work",
      cron: "",
      weekdays: ["mon", "tue"],
      time: "09:00",
      zone: HERE,
      duration_seconds: 32_405,
      precedence: 2,
      ready_by: false,
      paused: false,
      valid_from: null,
      valid_until: "2030-01-31T12:00:30+00:00",
      states: [{ deployment: "chat", level: "awake", kv_floor_bytes: 17_179_869_185, priority: 5, queue_limit: 0 }],
    });
  });

  it("takes lengths and sizes as people write them", () => {
    const given = { ...windowDraft(HERE), name: " night ", duration: "10 h 30 min" };
    given.states = [
      { ...stateDraft(0), target: "label:team=ml", kv_cap_bytes: "20 GiB", pinned: "no", queue_seconds: "1 min" },
    ];
    const { request, wrong } = windowRequest(given);
    expect(wrong).toEqual({});
    expect([request.name, request.duration_seconds]).toEqual(["night", 37_800]);
    expect(request.states).toEqual([
      { label: "team=ml", kv_cap_bytes: 20 * 1024 ** 3, pinned: false, queue_seconds: 60 },
    ]);
  });

  it("sends either days and a time or a cron expression", () => {
    const given = { ...windowDraft(HERE), name: "x", cron: "0 20 * * *", states: [] };
    expect(windowRequest({ ...given, by: "cron" }).request).toMatchObject({
      cron: "0 20 * * *",
      weekdays: [],
      time: null,
    });
    expect(windowRequest({ ...given, by: "days" }).request).toMatchObject({ cron: "", time: "09:00" });
  });

  it("says what is wrong at its field", () => {
    const given = { ...windowDraft(HERE), days: [], time: "", duration: "9 ells", precedence: "high", zone: "" };
    given.states = [{ ...stateDraft(0), priority: "urgent", kv_floor_bytes: "16" }];
    expect(Object.keys(windowRequest(given).wrong).sort()).toEqual([
      "duration_seconds",
      "name",
      "precedence",
      "states.0.deployment",
      "states.0.kv_floor_bytes",
      "states.0.priority",
      "time",
      "weekdays",
      "zone",
    ]);
    expect(windowRequest({ ...given, by: "cron" }).wrong["cron"]).toContain("five fields");
  });

  it("tells rows apart also after one was removed", () => {
    expect(withState([stateDraft(0), stateDraft(4)]).map((one) => one.row)).toEqual([0, 4, 5]);
    expect(withState([]).map((one) => one.row)).toEqual([0]);
  });
});

describe("a window in words", () => {
  it("says when it opens", () => {
    expect(whenWords(windowRow({ duration_seconds: 3600 }))).toBe("Mon, Tue at 09:00 for 1 h, Europe/Berlin");
    expect(whenWords(windowRow({ cron: "0 20 * * *", ready_by: true }))).toContain("cron 0 20 * * * for 9 h");
  });

  it.each([
    [["mon", "tue", "wed", "thu", "fri"], "Mon to Fri"],
    [["sat", "sun"], "Sat, Sun"],
    [["sun", "mon", "wed"], "Mon, Wed, Sun"],
    [["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "every day"],
  ] as const)("%j is %s", (days, words) => expect(daysWords(days)).toBe(words));

  it("says what it asks, and a queue of none", () => {
    expect(windowRow().states.map(askedOf)).toEqual(["awake, priority 5, longest queue 0, KV floor 16 GiB"]);
  });
});
