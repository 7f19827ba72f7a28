import { expect, it } from "vitest";
import { gpu, replica } from "../live/rows.fake";
import { operations } from "./operations";

const nameOfGpu = (id: number) => `GPU ${id - 1}`;
const told = (...replicas: ReturnType<typeof replica>[]) =>
  operations({ replicas, gpus: [gpu()], nameOfGpu }).map(({ does, name, where }) => `${does} ${name} ${where}`);

it("tells nothing of those that are where they are headed", () =>
  expect(
    told(
      replica({ id: 1, state: "ready", goal: "ready" }),
      replica({ id: 2, state: "sleeping", goal: "sleeping" }),
      replica({ id: 3, state: "stopped", goal: "stopped" }),
      replica({ id: 4, state: "failed", goal: "ready" }),
    ),
  ).toEqual([]));

it("tells what each does, and a move once", () => {
  const source = replica({ id: 1, deployment_name: "chat" });
  const copy = replica({ id: 2, deployment_name: "chat", state: "starting", gpu: 2, replaces: 1 });
  expect(told(source, copy)).toEqual(["Moves chat/2 to GPU 1"]);
  const wakes = replica({ id: 3, deployment_name: "code", state: "waking" });
  const drains = replica({ id: 4, deployment_name: "docs", state: "draining", goal: "sleeping" });
  const ends = replica({ id: 5, deployment_name: "old", state: "draining", goal: "stopped" });
  const waits = replica({ id: 6, deployment_name: "next", state: "sleeping", goal: "ready" });
  expect(told(wakes, drains, ends, waits)).toEqual([
    "Wakes code/3 on GPU 0",
    "Goes to sleep docs/4 on GPU 0",
    "Stops old/5 on GPU 0",
    "Waits to wake next/6 on GPU 0",
  ]);
});

it("has the phase, how far it is, and why it cannot be cancelled", () => {
  const verbs = { ...replica().verbs, cancel: "nothing is under way" };
  const loads = replica({ state: "starting", phase: "loads weights", progress_ratio: 0.4, verbs });
  const [one] = operations({ replicas: [loads], gpus: [], nameOfGpu });
  expect([one?.phase, one?.ratio, one?.refused]).toEqual(["loads weights", 0.4, "nothing is under way"]);
});

it("begins with the drains of GPUs, and who is there still", () => {
  const drained = gpu({ cordon: { at: null, by: "olive", message: "new fan", drain: "move" } });
  const [one] = operations({ replicas: [replica({ gpu_uuids: [drained.uuid] })], gpus: [drained], nameOfGpu });
  expect([one?.does, one?.name, one?.where, one?.phase]).toEqual([
    "Is emptied",
    "GPU 0",
    "for new fan",
    "1 replica is there still",
  ]);
  const closed = gpu({ cordon: { at: null, by: "olive", message: "new fan", drain: "" } });
  expect(operations({ replicas: [], gpus: [closed], nameOfGpu })).toEqual([]);
});
