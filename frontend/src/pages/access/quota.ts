/** Limits of a team or key: as text in a form, as a request, and in short. Pure. Null is no limit of its own. */
import type { Team } from "../../api/types";
import { compact, count, duration, parseCount, parseSeconds } from "../../lib/format";

export const QUOTA = [
  "requests_per_minute",
  "tokens_per_minute",
  "tokens_per_day",
  "tokens_per_month",
  "gpu_seconds_per_day",
  "gpu_seconds_per_month",
  "concurrent_requests",
] as const;
export type QuotaField = (typeof QUOTA)[number];
export type Quota = Pick<Team, QuotaField>;
export type QuotaDraft = Record<QuotaField, string>;

interface Words {
  readonly label: string;
  readonly hint: string;
  /** What stands behind the number in a list. */
  readonly short: string;
}

export const LIMITS: Record<QuotaField, Words> = {
  requests_per_minute: { label: "Requests per minute", hint: "Refilled evenly.", short: "requests/min" },
  tokens_per_minute: { label: "Tokens per minute", hint: "Prompt and completion, such as 200k.", short: "tokens/min" },
  concurrent_requests: { label: "Requests at once", hint: "Waiting ones count.", short: "at once" },
  tokens_per_day: { label: "Tokens per day", hint: "Of the UTC day, such as 2M.", short: "tokens/day" },
  tokens_per_month: { label: "Tokens per month", hint: "Of the UTC calendar month.", short: "tokens/month" },
  gpu_seconds_per_day: { label: "GPU time per day", hint: "Such as 2 h; seconds without a unit.", short: "GPU/day" },
  gpu_seconds_per_month: {
    label: "GPU time per month",
    hint: "Such as 3 d; seconds without a unit.",
    short: "GPU/month",
  },
};

function isTime(field: QuotaField): boolean {
  return field.startsWith("gpu_seconds");
}

const UNITS = [["d", 86_400], ["h", 3600], ["min", 60]] as const; // prettier-ignore

/** "2 h", "90 min", "0.5 s": in the biggest unit that leaves nothing over. */
function exactTime(seconds: number): string {
  const [unit, of] = UNITS.find(([, length]) => seconds > 0 && seconds % length === 0) ?? ["s", 1];
  return `${seconds / of} ${unit}`;
}

/** The limits as the form shows them; exact, so that saving an untouched form changes nothing. */
export function quotaDraft(of?: Quota): QuotaDraft {
  const text = (field: QuotaField) => {
    const value = of?.[field];
    return value == null ? "" : isTime(field) ? exactTime(value) : count(value);
  };
  return Object.fromEntries(QUOTA.map((field) => [field, text(field)])) as QuotaDraft;
}

/** The limits to write, or what is wrong by field. Empty takes a limit away. */
export function quotaRequest(given: QuotaDraft): {
  quota: Record<QuotaField, number | null>;
  wrong: Record<string, string>;
} {
  const wrong: Record<string, string> = {};
  const quota = {} as Record<QuotaField, number | null>;
  for (const field of QUOTA) {
    const text = given[field].trim();
    const value = isTime(field) ? parseSeconds(text) : parseCount(text);
    if (text && !(value !== undefined && value > 0)) {
      wrong[field] = isTime(field)
        ? "write a length of time such as 2 h"
        : "write a number above zero, such as 600 or 200k";
    }
    quota[field] = value ?? null;
  }
  return { quota, wrong };
}

/** "600 requests/min", "2M tokens/day", "2 h GPU/day": those that are set. */
export function limitsInShort(of: Quota): string[] {
  return QUOTA.flatMap((field) => {
    const value = of[field];
    if (value == null) return [];
    const amount = isTime(field) ? duration(value) : field === "concurrent_requests" ? count(value) : compact(value);
    return [`${amount} ${LIMITS[field].short}`];
  });
}
