import { expect, it } from "vitest";
import { deployment } from "../../live/rows.fake";
import { timersDraft, timersRequest } from "./timers";
import { idleWords } from "./words";

const row = deployment({ idle_sleep_seconds: 900.4, idle_stop_seconds: 86_400, pinned: true });

it("only what was changed is asked for", () => {
  const before = timersDraft(row);
  expect(before.idle_sleep_seconds).toBe("15 min");
  expect(timersRequest(before, row)).toEqual({ request: {}, wrong: {} });
  const changed = {
    ...before,
    idle_sleep_seconds: "90",
    idle_stop_seconds: "",
    min_resident_seconds: "1 min",
    pinned: false,
  };
  expect(timersRequest(changed, row).request).toEqual({
    idle_sleep_seconds: 90,
    idle_stop_seconds: null,
    min_resident_seconds: 60,
    pinned: false,
  });
});

it("what is no length is said at its field", () => {
  expect(timersRequest({ ...timersDraft(row), idle_stop_seconds: "later" }, row).wrong).toHaveProperty(
    "idle_stop_seconds",
  );
});

it("a pin that a window decides is shown as it acts", () => {
  const governed = deployment({ in_force: { pinned: { value: true, by: "window", name: "work", id: 1 } } });
  expect(timersDraft(governed).pinned).toBe(true);
});

it("idle times are told step by step", () => {
  expect(idleWords(row)).toEqual(["sleeps after 15 min", "its engine ends after 1 d"]);
  expect(idleWords(deployment())).toEqual([]);
});
