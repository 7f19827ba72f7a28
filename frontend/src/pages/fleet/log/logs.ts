/** What /ws/logs/<replica> tells, as numbered lines. Pure, and bounded. */

export const KEPT_LINES = 5000;

export interface LogLine {
  readonly number: number;
  readonly text: string;
}

export interface Log {
  readonly generation: number | undefined;
  readonly lines: readonly LogLine[];
  readonly next: number;
  readonly ended: boolean;
}

export type LogFrame =
  { type: "tail"; generation: number; lines: string[] } | { type: "lines"; lines: string[] } | { type: "end" };

export const NO_LOG: Log = { generation: undefined, lines: [], next: 1, ended: false };

/** The log after one more frame. A tail begins anew: after a reconnect, or when the replica started again. */
export function applyLog(log: Log, frame: LogFrame): Log {
  if (frame.type === "end") return { ...log, ended: true };
  const from = frame.type === "tail" ? { ...NO_LOG, generation: frame.generation } : log;
  const added = frame.lines.map((text, index) => ({ number: from.next + index, text }));
  return { ...from, lines: [...from.lines, ...added].slice(-KEPT_LINES), next: from.next + added.length };
}

export const LEVELS = { plain: "every line", warning: "warnings and errors", error: "errors" } as const;
export type Level = keyof typeof LEVELS;
const BADNESS: Record<Level, number> = { plain: 0, warning: 1, error: 2 };

/** The lines that hold `query`, whatever the case, and are at least as bad as `level`. */
export function matching(lines: readonly LogLine[], query: string, level: Level = "plain"): readonly LogLine[] {
  const wanted = query.trim().toLowerCase();
  if (!wanted && level === "plain") return lines;
  return lines.filter(({ text }) => text.toLowerCase().includes(wanted) && BADNESS[severity(text)] >= BADNESS[level]);
}

/** How bad a line is, for its colour. */
export function severity(text: string): Level {
  if (/\b(ERROR|CRITICAL|FATAL|Traceback)\b|\b\w+Error\b:/.test(text)) return "error";
  return /\bWARN(ING)?\b/.test(text) ? "warning" : "plain";
}
