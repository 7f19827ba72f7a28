import { expect, it } from "vitest";
import { engine, frame, GIB, gpu, ledger, replica } from "../../live/rows.fake";
import { ownerWords, processesOn } from "./processes";

const here = gpu();
const chat = replica({ id: 1, deployment_name: "chat" });

function read() {
  const processes = [
    { pid: 30, marker: null, memory_bytes: null },
    { pid: 20, marker: "9:1", memory_bytes: 2 * GIB },
    { pid: 100, marker: "1:1", memory_bytes: 20 * GIB },
  ];
  const unowned = {
    orphans: [{ pid: 20, name: "vllm", memory_bytes: 2 * GIB }],
    foreign: [{ pid: 30, name: "", memory_bytes: null }],
  };
  return frame({
    gpus: frame().gpus.map((reading) => ({ ...reading, processes })),
    engines: [engine()],
    ledgers: { [here.uuid]: ledger(unowned) },
  });
}

it("tells whose each process is, the largest first", () =>
  expect(processesOn(here, read(), new Map([[1, chat]]))?.map((one) => [one.pid, ownerWords(one)])).toEqual([
    [100, "chat/1"],
    [20, "an engine without a replica"],
    [30, "not of Sardeenz, name hidden"],
  ]));

it("knows nothing without a reading", () => expect(processesOn(here, undefined, new Map())).toBeUndefined());
