import { expect, it } from "vitest";
import type { HostLedger } from "../api/types";
import { GIB, replica } from "../live/rows.fake";
import { hostParts, hostWords } from "./hostRam";

const held = (replica_id: number, asleep: boolean, gib: number) => ({
  marker: `${replica_id}:1`,
  replica_id,
  asleep,
  held_bytes: gib * GIB,
});
const LEDGER: HostLedger = {
  measured_at: 0,
  total_bytes: 128 * GIB,
  available_bytes: 90 * GIB,
  margin_bytes: 4 * GIB,
  sleepers_bytes: 16 * GIB,
  awake_bytes: 6 * GIB,
  others_bytes: 16 * GIB,
  holdings: [held(3, false, 6), held(8, true, 16), held(9, true, 0)],
};
const rows = new Map([[8, replica({ id: 8, deployment: 2, deployment_name: "code" })]]);

it("sleepers come first, and what holds nothing has no part", () => {
  expect(hostParts(LEDGER, rows).map(({ kind, words, deployment }) => [kind, words, deployment])).toEqual([
    ["asleep", "code, asleep: 16 GiB", 2],
    ["awake", "replica 3, awake: 6 GiB", undefined],
    ["others", "other processes: 16 GiB", undefined],
  ]);
});

it("the bar is told in words, with what sleepers may hold where that is bounded", () => {
  const parts = hostParts(LEDGER, rows);
  const words = hostWords(LEDGER, parts, 64 * GIB);
  expect(words).toContain("Host RAM: 38 of 128 GiB in use; code, asleep: 16 GiB;");
  expect(words).toContain("90 GiB available; 4 GiB kept free; sleepers hold 16 of 64 GiB that they may");
  expect(hostWords(LEDGER, parts, null)).not.toContain("sleepers hold");
});
