import { expect, it } from "vitest";
import { INPUT_NAMES } from "./inputNames";
import { inputLines } from "./inputs";

it("inputs are lines with sizes and lengths that people read", () => {
  const inputs = {
    why: "free",
    claims: [],
    engines: [
      { name: "chat", floor_bytes: 1024 ** 3, idle_seconds: 75, pinned: false },
      { name: "code", wanted_bytes: null, asleep: { level: 2 } },
    ],
    gpus: ["GPU-1"],
  };
  expect(inputLines(inputs)).toEqual([
    "why: free",
    "claims: none",
    "engines:",
    "  - name: chat",
    "    floor: 1 GiB",
    "    idle: 1 min 15 s",
    "    pinned: no",
    "  - name: code",
    "    wanted: not known",
    "    asleep:",
    "      level: 2",
    "gpus:",
    "  - GPU-1",
  ]);
});

it("values of a map are of the unit that its name says, and moments are read as such", () => {
  const inputs = {
    until: 1764460805.5,
    restart_at: "2025-11-30T00:00:05+00:00",
    free_bytes: { "GPU-1": 2 * 1024 ** 3 },
    max_wait_seconds: 8,
    wanted: { id: 7, needs: { "GPU-1": 1024 ** 3, "GPU-2": 0 }, ready_at: null },
    rules: { wait_seconds: { "-1": 4, "0": 8 } },
    before: { priority: 0 },
    now: { priority: 7 },
  };
  expect(inputLines(inputs)).toEqual([
    "until: 30 Nov, 00:00:05 UTC",
    "restart at: 30 Nov, 00:00:05 UTC",
    "free:",
    "  GPU-1: 2 GiB",
    "max wait: 8 s",
    "wanted:",
    "  id: 7",
    "  needs:",
    "    GPU-1: 1 GiB",
    "    GPU-2: 0 B",
    "  ready at: not known",
    "rules:",
    "  wait:",
    "    0: 8 s",
    "    -1: 4 s",
    "before:",
    "  priority: 0",
    "now:",
    "  priority: 7",
  ]);
});

it("names of inputs are the API's own with blanks", () => {
  for (const [name, words] of Object.entries(INPUT_NAMES)) expect(words).toBe(name.replaceAll("_", " "));
});

it("nothing has no line", () => expect(inputLines({})).toEqual([]));
