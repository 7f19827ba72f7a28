import { describe, expect, it } from "vitest";
import type { ReplicaRow, Verb } from "../api/types";
import { deployment, replica } from "../live/rows.fake";
import { doing, placedWords, whatHappens } from "./answers";
import { codeWords } from "./codes";
import { failures, outdated } from "./words";

const CASES: [Verb, Partial<ReplicaRow>, string][] = [
  ["start", { state: "failed", goal: "ready" }, "chat starts again once its old engine has ended."],
  ["start", { state: "pending", goal: "ready" }, "chat is being started."],
  ["start", { state: "ready", goal: "ready" }, "chat is ready already."],
  [
    "wake",
    { state: "sleeping", goal: "ready", message: "code has 60 GiB of GPU 0." },
    "chat wakes as soon as it can: code has 60 GiB of GPU 0.",
  ],
  [
    "sleep",
    { state: "ready", goal: "sleeping" },
    "chat finishes the calls that run, then sleeps; the next call wakes it.",
  ],
  ["sleep", { state: "sleeping", goal: "sleeping" }, "chat sleeps already."],
  [
    "stop",
    { state: "ready", goal: "stopped" },
    "chat finishes the calls that run, then its engine ends and its memory is freed.",
  ],
  ["restart", { state: "failed", goal: "ready" }, "chat starts again with the deployment's present settings."],
  ["cancel", { state: "starting", goal: "stopped" }, "chat does not start after all."],
  ["cancel", { state: "draining", goal: "ready" }, "chat stays ready."],
];

describe("the answer to a verb", () => {
  it.each(CASES)("%s of %j is told as: %s", (verb, row, words) => expect(whatHappens(verb, replica(row))).toBe(words));

  it("says what could not be done as people say it", () => {
    expect([doing("sleep", "chat"), doing("cancel", "chat"), doing("move", "chat")]).toEqual([
      "put chat to sleep",
      "cancel what is under way with chat",
      "move chat",
    ]);
  });

  it("of deploy counts what is placed and says what becomes of the rest", () => {
    expect(placedWords(deployment({ replicas: 3, placed: 1 }))).toBe(
      "chat: 1 of 3 replicas placed; the rest is placed as soon as there is room.",
    );
    expect(placedWords(deployment({ replicas: 1, placed: 1 }))).toBe(
      "chat: its replica is placed, and started where not running yet.",
    );
  });
});

describe("what went wrong", () => {
  it("is no restart while the first load never came to an end", () => {
    expect(failures(replica({ restarts: 0 }))).toBeUndefined();
    expect(failures(replica({ restarts: 1, ready_at: null }))).toBe("1 failed start");
    expect(failures(replica({ restarts: 2, ready_at: "2026-01-01T00:00:00+00:00" }))).toBe("2 restarts");
  });

  it("says which settings wait for a restart", () => {
    expect(outdated(replica({}))).toBeUndefined();
    expect(outdated(replica({ outdated: ["KV cap", "model"] }))).toBe(
      "started before KV cap, model changed; a restart applies that",
    );
  });

  it("is told in words where nobody wrote a sentence", () => {
    expect([codeWords("engine_exited"), codeWords("")]).toEqual(["engine exited", "the reason is not known"]);
  });
});
