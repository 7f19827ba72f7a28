import { expect, it } from "vitest";
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

it("nothing has no line", () => expect(inputLines({})).toEqual([]));
