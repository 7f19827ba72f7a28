/** What /ws/lifecycle tells of benchmarks, folded into rows and what was seen of each while it ran. Pure. */
import type { BenchmarkRow } from "../api/types";

export type StreamProgress = NonNullable<BenchmarkRow["progress"]["streams"]>[number];

/** One look at a benchmark that runs. */
export interface Look {
  /** Seconds since the first look. */
  readonly at: number;
  readonly streams: readonly StreamProgress[];
}

export interface Heard {
  /** The `seq` of the first look. */
  readonly since: number;
  readonly seq: number;
  /** Null once it is forgotten. */
  readonly row: BenchmarkRow | null;
  readonly looks: readonly Look[];
}

export type Benchmarks = ReadonlyMap<number, Heard>;

export interface BenchmarkFrame {
  readonly type: "event";
  readonly kind: "benchmark";
  readonly id: number;
  /** Milliseconds since 1970, by the server's clock. */
  readonly seq: number;
  readonly row: BenchmarkRow | null;
}

const MOST_LOOKS = 3600;

/** With one more event; one that is older than what is known changes nothing. */
export function heard(known: Benchmarks, frame: BenchmarkFrame): Benchmarks {
  const before = known.get(frame.id);
  if (before !== undefined && frame.seq < before.seq) return known;
  const looks = before?.looks ?? [];
  const streams = frame.row?.status === "running" ? frame.row.progress.streams : undefined;
  const since = before?.looks.length ? before.since : frame.seq;
  const look = streams?.length ? [{ at: (frame.seq - since) / 1000, streams }] : [];
  const heardOf = { since, seq: frame.seq, row: frame.row, looks: [...looks, ...look].slice(-MOST_LOOKS) };
  return new Map(known).set(frame.id, heardOf);
}

/** Rows that were read, with what was heard since; `askedAt`: the newest `seq` known when they were asked for. */
export function withHeard(rows: readonly BenchmarkRow[], known: Benchmarks, askedAt: number): BenchmarkRow[] {
  const found = new Map(rows.map((row) => [row.id, row]));
  for (const [id, { seq, row }] of known) {
    if (seq <= askedAt) continue;
    if (row === null) found.delete(id);
    else found.set(id, row);
  }
  return [...found.values()].sort((a, b) => b.id - a.id);
}

/** Whether it has not ended yet. */
export function isOpen(row: Pick<BenchmarkRow, "status">): boolean {
  return row.status === "queued" || row.status === "running";
}

/** How far it is, from 0 to 1; undefined where nobody can say. */
export function share(row: BenchmarkRow): number | undefined {
  const { elapsed_seconds: elapsed, total_seconds: total, calls, streams, drill, search } = row.progress;
  if (drill) return drill.done / drill.cycles;
  if (search) return Math.min(search.spent_seconds / search.most_seconds, 1);
  if (total && elapsed !== undefined) return Math.min(elapsed / total, 1);
  const loads = streams?.filter((one) => one.role === "load") ?? [];
  return calls && loads.length ? Math.min(...loads.map((one) => (one.ok + one.failed) / calls), 1) : undefined;
}
