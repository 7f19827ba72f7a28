import { expect, it } from "vitest";
import { blocks, sums } from "./lanes";

const HOUR = { since: "2030-01-01T10:00:00Z", until: "2030-01-01T11:00:00Z" };
const LANE = {
  replica: 7,
  gone: false,
  spans: [
    { state: "ready", since: "2030-01-01T10:00:00Z", until: "2030-01-01T10:30:00Z", sentence: "chat/7 is ready" },
    { state: "sleeping", since: "2030-01-01T10:30:00Z", until: null, sentence: "chat/7 is asleep" },
  ],
};

it("a stretch has its place and says why it began", () => {
  const [ready, asleep] = blocks(LANE, HOUR);
  expect(ready).toMatchObject({ state: "ready", from: 0, width: 0.5 });
  expect(ready?.words).toMatch(/^Ready, .*, 30 min: chat\/7 is ready$/);
  expect(asleep).toMatchObject({ from: 0.5, width: 0.5 });
  expect(asleep?.words).toMatch(/30 min until now: chat\/7 is asleep$/);
});

it("a lane is told in one line", () => expect(sums(LANE, HOUR)).toBe("ready 30 min, sleeping 30 min"));
