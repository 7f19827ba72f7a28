import { expect, it } from "vitest";
import { deployment, replica } from "../../live/rows.fake";
import { labelsOf, PLAIN, searchOf, seen, shown, viewOf } from "./rows";

const CHAT = deployment({ id: 1, name: "chat", priority: 1, labels: { team: "search" } });
const CODE = deployment({ id: 2, name: "code", model_name: "qwen", priority: 5 });
const IDLE = deployment({ id: 3, name: "idle", placed: 0 });
const ALL = seen(
  [CHAT, CODE, IDLE],
  [
    replica({ id: 1, deployment: 1 }),
    replica({ id: 2, deployment: 1, state: "sleeping", gpu_uuids: ["GPU-b"], reservations: [] }),
    replica({ id: 3, deployment: 2, state: "failed" }),
  ],
);
const names = (view: object) => shown(ALL, { ...PLAIN, ...view }).map((one) => one.row.name);

it("a deployment is what its replicas add up to", () => {
  expect(ALL[0]?.states).toEqual([
    ["ready", 1],
    ["sleeping", 1],
  ]);
  expect(ALL[0]?.gpus).toEqual(["GPU-sim-n-0", "GPU-b"]);
  expect(ALL[0]?.reservedBytes).toBe(18 * 1024 ** 3);
  expect(labelsOf([CHAT, CODE])).toEqual(["team=search"]);
});

it.each([
  [{ text: "qwen" }, ["code"]],
  [{ text: "search chat" }, ["chat"]],
  [{ text: "search code" }, []],
  [{ state: "sleeping" }, ["chat"]],
  [{ state: "none" }, ["idle"]],
  [{ gpu: "GPU-b" }, ["chat"]],
  [{ label: "team=search" }, ["chat"]],
  [{ sort: "priority", down: true }, ["code", "chat", "idle"]],
  [{ sort: "state" }, ["chat", "code", "idle"]],
  [{ sort: "reserved", down: true }, ["chat", "code", "idle"]],
  [{ down: true }, ["idle", "code", "chat"]],
])("%j shows %j", (view, expected) => expect(names(view)).toEqual(expected));

it.each(["", "?q=a+b&state=ready&gpu=GPU-1&label=team%3Dx&sort=-priority&as=cards", "?sort=-name"])(
  "the address %s says its view",
  (search) => expect(searchOf(viewOf(search))).toBe(search),
);

it("an address that says nonsense is plain", () =>
  expect(viewOf("?state=odd&sort=-odd&as=odd")).toEqual({ ...PLAIN, down: true }));
