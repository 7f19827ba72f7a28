/** What a benchmark is called, and how it stands. Pure. */
import { word } from "../../language/word";
import type { BenchmarkRow, DrillKind } from "../../api/types";
import { duration, inside } from "../../lib/format";
import { DRILLS } from "./form/draft";

export const STATUS: Readonly<Record<string, readonly [word: string, badge: string]>> = {
  queued: [word("waits"), "badge-off"],
  running: [word("runs"), "badge-warn"],
  done: [word("done"), "badge-good"],
  failed: [word("failed"), "badge-bad"],
  cancelled: [word("cancelled"), "badge-off"],
};

/** "Benchmark 7", or as it was named. */
export function title(row: Pick<BenchmarkRow, "id" | "name">): string {
  return row.name || `Benchmark ${row.id}`;
}

/** What an address below the page's own shows: one by its number, several beside one another, or all of them. */
export function shownAt(thing: string): number | "compare" | undefined {
  if (thing === "compare") return thing;
  return /^\d{1,15}$/.test(thing) ? Number(thing) : undefined;
}

/** What was asked, in a few words. */
export function about(row: Pick<BenchmarkRow, "kind" | "options" | "deployments">): string {
  const whom = row.deployments.join(", ");
  if (row.kind === "search")
    return row.options["over"] === "rate" ? `highest rate of ${whom}` : `highest number of callers of ${whom}`;
  if (row.kind === "drill") {
    const kind = row.options["kind"] as DrillKind;
    const name = kind in DRILLS ? DRILLS[kind][0] : String(kind);
    return `${inside(name)}, ${whom}`;
  }
  return `load on ${whom}`;
}

/** How long it took, or takes by now. */
export function took(row: Pick<BenchmarkRow, "began_at" | "ended_at">, now: number): string {
  if (row.began_at === null) return "";
  const end = row.ended_at === null ? now : Date.parse(row.ended_at);
  return duration((end - Date.parse(row.began_at)) / 1000);
}
