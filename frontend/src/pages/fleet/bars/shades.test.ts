import { expect, it } from "vitest";
import type { Ahead } from "../../../api/types";
import { shadesOf } from "./shades";

const GIB = 1024 ** 3;
const gpu = (uuid: string, before: number, after: number) =>
  ({
    uuid,
    reserved_before_bytes: before * GIB,
    reserved_after_bytes: after * GIB,
  }) as Ahead["outcome"]["gpus"][number];

it("tells of GPUs where the next change reserves another sum, and of no others", () => {
  const outcome = { gpus: [gpu("A", 48, 20), gpu("B", 10, 10)] } as Ahead["outcome"];
  const shades = shadesOf({ at: "2030-01-31T08:00:00Z", outcome });
  expect([...shades.keys()]).toEqual(["A"]);
  expect(shades.get("A")?.bytes).toBe(20 * GIB);
  expect(shades.get("A")?.words).toMatch(/^20 GiB reserved from .*31 Jan.* on, by the clock$/);
  expect(shadesOf(undefined).size).toBe(0);
});
