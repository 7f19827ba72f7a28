/** Rows for tests. */
import type { Span, Week, WindowRow } from "../../api/types";

/** A span of an hour or so on 19 October 2026. */
export function span(given: Partial<Span> = {}): Span {
  return {
    by: "window",
    id: 1,
    name: "work",
    begins_at: "2026-10-19T08:00:00+00:00",
    ends_at: "2026-10-19T10:00:00+00:00",
    times: "Mon 08:00 to 10:00 UTC",
    words: "priority 5",
    note: "",
    precedence: 0,
    paused: false,
    ...given,
  };
}

/** Two days in UTC, with one lane. */
export function week(...spans: Span[]): Week {
  return {
    zone: "UTC",
    days: [
      { date: "2026-10-19", begins_at: "2026-10-19T00:00:00+00:00", ends_at: "2026-10-20T00:00:00+00:00" },
      { date: "2026-10-20", begins_at: "2026-10-20T00:00:00+00:00", ends_at: "2026-10-21T00:00:00+00:00" },
    ],
    lanes: [{ kind: "deployment", name: "chat", spans }],
    notes: [],
    zone_database: "time zones of 2026b, from the package",
  };
}

/** A window on weekdays that asks one thing of chat. */
export function windowRow(given: Partial<WindowRow> = {}): WindowRow {
  return {
    id: 3,
    seq: 1,
    name: "work",
    cron: "",
    weekdays: ["mon", "tue"],
    time: "09:00",
    zone: "Europe/Berlin",
    duration_seconds: 32_405,
    precedence: 2,
    ready_by: false,
    valid_from: null,
    valid_until: "2030-01-31T12:00:30+00:00",
    paused: false,
    author: "olive",
    states: [
      {
        deployment: 7,
        deployment_name: "chat",
        label: "",
        level: "awake",
        kv_floor_bytes: 17_179_869_185,
        kv_cap_bytes: null,
        kv_weight: null,
        priority: 5,
        replicas: null,
        pinned: null,
        max_concurrency: null,
        queue_limit: 0,
        queue_seconds: null,
      },
    ],
    open_since: null,
    open_until: null,
    next: [],
    notes: [],
    warnings: [],
    zone_database: "",
    ...given,
  };
}
