/** The only place where numbers become text. The rest of the page knows bytes, seconds and ratios. */

import { word } from "../language/word";
import { language } from "../language/language";

export const UNKNOWN = "–";
type Maybe = number | null | undefined;

/* English dates are written as in Britain: the day before the month. */
export const DATES = { en: "en-GB", de: "de" }[language];

/* Numbers of at most so many decimals; making one of these takes longer than using it a thousand times. */
const [WHOLE, TENTHS, HUNDREDTHS] = [0, 1, 2].map(
  (maximumFractionDigits) => new Intl.NumberFormat(language, { maximumFractionDigits }),
) as [Intl.NumberFormat, Intl.NumberFormat, Intl.NumberFormat];
/* Not grouped: who changes one in a form writes no separators. */
const SIZES = new Intl.NumberFormat(language, { maximumFractionDigits: 1, useGrouping: false });
const TENTHS_KEPT = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const HUNDREDTHS_KEPT = new Intl.NumberFormat(language, { minimumFractionDigits: 2, maximumFractionDigits: 2 });

/** 1234.5 -> "1,234.5", "1.234,5" in German: at most two decimals. */
export function decimal(value: number): string {
  return HUNDREDTHS.format(value);
}

/** 0.5 -> "0.50": always two decimals. */
export function hundredths(value: number): string {
  return HUNDREDTHS_KEPT.format(value);
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;

/** 17179869184 -> "16 GiB"; three significant digits, base 1024. */
export function bytes(value: Maybe): string {
  return sized(value, Math.round);
}

/** As `bytes`, rounded up: what does not fit never reads like what is free. */
export function neededBytes(value: Maybe): string {
  return sized(value, Math.ceil);
}

/** As `bytes`, rounded down. */
export function freeBytes(value: Maybe): string {
  return sized(value, Math.floor);
}

function sized(value: Maybe, whole: (value: number) => number): string {
  if (value === null || value === undefined) return UNKNOWN;
  let scaled = value;
  let unit = 0;
  while (Math.abs(scaled) >= 1023.5 && unit < UNITS.length - 1) {
    scaled /= 1024;
    unit += 1;
  }
  const steps = unit === 0 || Math.abs(scaled) >= 99.95 ? 1 : 10;
  return `${SIZES.format(whole(scaled * steps) / steps)} ${UNITS[unit]}`;
}

/** "12.5 of 80 GiB", both in the unit of the whole. */
export function share(part: Maybe, whole: number): string {
  if (part === null || part === undefined) return `${UNKNOWN} of ${bytes(whole)}`;
  const text = bytes(whole);
  const unit = UNITS.indexOf(text.split(" ")[1] as (typeof UNITS)[number]);
  return `${SIZES.format(part / 1024 ** unit)} of ${text}`;
}

/** 0.425 -> "43 %". */
export function percent(ratio: Maybe): string {
  return ratio === null || ratio === undefined ? UNKNOWN : `${Math.round(ratio * 100)} %`;
}

/** 0.0042 -> "0.4 %", 0.425 -> "43 %": one decimal below ten. */
export function finePercent(ratio: Maybe): string {
  if (ratio === null || ratio === undefined || ratio >= 0.0995) return percent(ratio);
  return ratio > 0 && ratio < 0.001 ? `<${TENTHS.format(0.1)} %` : `${TENTHS.format(ratio * 100)} %`;
}

export function celsius(value: Maybe): string {
  return value === null || value === undefined ? UNKNOWN : `${Math.round(value)} °C`;
}

export function watts(value: Maybe, limit: Maybe): string {
  if (value === null || value === undefined) return UNKNOWN;
  return limit ? `${Math.round(value)} of ${Math.round(limit)} W` : `${Math.round(value)} W`;
}

/** 1234.5 -> "1,235"; below 10 one decimal. */
export function rate(value: Maybe): string {
  if (value === null || value === undefined) return UNKNOWN;
  return (value > 0 && value < 9.95 ? TENTHS_KEPT : WHOLE).format(value);
}

export function count(value: Maybe): string {
  return value === null || value === undefined ? UNKNOWN : decimal(value);
}

/** 75 -> "1 min 15 s"; two units at most. */
export function duration(seconds: Maybe): string {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return pair(Math.floor(whole / 60), "min", whole % 60, "s");
  if (whole < 86_400) return pair(Math.floor(whole / 3600), "h", Math.floor((whole % 3600) / 60), "min");
  return pair(Math.floor(whole / 86_400), "d", Math.floor((whole % 86_400) / 3600), "h");
}

function pair(most: number, big: string, rest: number, small: string): string {
  return rest ? `${most} ${big} ${rest} ${small}` : `${most} ${big}`;
}

/** 12_345 -> "12.3k", 2_000_000 -> "2M"; exact below ten thousand. */
export function compact(value: Maybe): string {
  if (value === null || value === undefined) return UNKNOWN;
  if (value < 10_000) return count(Math.round(value));
  const power = value >= 999.5e6 ? 3 : value >= 999.5e3 ? 2 : 1;
  const scaled = value / 1000 ** power;
  return `${(scaled >= 99.95 ? WHOLE : TENTHS).format(scaled)}${["", "k", "M", "G"][power]}`;
}

/** 0.0123 -> "12 ms", 1.25 -> "1.3 s", 75 -> "1 min 15 s". */
export function span(seconds: Maybe): string {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  if (seconds >= 59.5) return duration(seconds);
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  return `${(seconds < 9.95 ? TENTHS : WHOLE).format(seconds)} s`;
}

/** "120 ms / 1.3 s", of two quantiles; one dash where nothing is known. */
export function spans(half: Maybe, most: Maybe): string {
  return half === null || half === undefined ? UNKNOWN : `${span(half)} / ${span(most)}`;
}

/** How long ago an instant was, in its biggest unit; a clock that is behind counts as now. */
export function since(at: string | null | undefined, now: number): string {
  if (!at) return UNKNOWN;
  const seconds = Math.max(0, Math.floor((now - Date.parse(at)) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 86_400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}

/** How long until an instant comes, in its biggest unit: "in 3 d"; "over" when it has come. */
export function until(at: string, now: number): string {
  const seconds = (Date.parse(at) - now) / 1000;
  return seconds <= 0 ? word("over") : `in ${since(new Date(now).toISOString(), Date.parse(at))}`;
}

/** The time zone of this browser, as "Europe/Berlin". */
export function zone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/** "31 Jan 2030, 14:05 CET", in this browser's time zone. */
export function moment(at: string | null | undefined): string {
  if (!at) return UNKNOWN;
  const shown = {
    day: "numeric",
    month: "short",
    year: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    hour12: false,
    timeZoneName: "short",
  } as const;
  return new Date(at).toLocaleString(DATES, shown);
}

/** "31 Jan, 14:05:09 UTC". */
export function utc(at: string): string {
  return `${day(Date.parse(at))}, ${new Date(at).toISOString().slice(11, 19)} UTC`;
}

/** "14:05" under the axis of a chart of two days or less, else "31 Jan"; in this browser's time zone. */
export function tick(at: number, spanSeconds: number): string {
  const when = new Date(at * 1000);
  return spanSeconds <= 2 * 86_400
    ? when.toLocaleTimeString(DATES, { hour: "2-digit", minute: "2-digit" })
    : when.toLocaleDateString(DATES, { day: "numeric", month: "short" });
}

/** "31 Jan" of a UTC day, with "14:00" of a UTC hour. */
export function day(at: number, hour = false): string {
  const date = new Date(at).toLocaleDateString(DATES, { day: "numeric", month: "short", timeZone: "UTC" });
  return hour ? `${date}, ${hourOf(at)}` : date;
}

/** "14:00" of a UTC hour. */
export function hourOf(at: number): string {
  return new Date(at).toISOString().slice(11, 16);
}

/** "GPU-5f0c…91ab": enough of a UUID to recognise it. */
export function shortUuid(uuid: string): string {
  return uuid.length <= 20 ? uuid : `${uuid.slice(0, 10)}…${uuid.slice(-4)}`;
}

/** "Waiting for the model" as it stands within a sentence, in any language: its first letter is small. */
export function lowered(words: string): string {
  return `${words.slice(0, 1).toLowerCase()}${words.slice(1)}`;
}

/** A noun, "Model", as it stands within a sentence: "model" in English; German ones stay as they are. */
export function inside(word: string): string {
  return language === "de" ? word : lowered(word);
}

/** "1 replica", "3 replicas" of ["# replica", "# replicas"]; catalogues bring forms and rule of their language. */
export function plural(value: number, forms: readonly string[], which = (of: number) => (of === 1 ? 0 : 1)): string {
  return (forms[which(value)] ?? "").replace("#", count(value));
}

/** "1,5" as "1.5", where people write so. */
export const pointed = (text: string) => (language === "de" ? text.replace(/(?<=\d),(?=\d)/g, ".") : text);

/* "1,000", or "1.000" in German, is a thousand. */
const ungrouped = (text: string) =>
  text.replace(language === "de" ? /(?<=\d)\.(?=\d{3}\b)/g : /(?<=\d),(?=\d{3})/g, "");

/** A number from what people type, as their language writes it; NaN when it is none. */
export function parseNumber(text: string): number {
  return text.trim() === "" ? NaN : Number(pointed(text));
}

/** Bytes from what people type: "16 GiB", "512m", "1.5T". Undefined when it is not a size: who types "16" means no bytes. */
export function parseBytes(text: string): number | undefined {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?\s*$/i.exec(pointed(text));
  if (!match) return undefined;
  const power = ["", "k", "m", "g", "t", "p"].indexOf((match[2] ?? "").toLowerCase());
  const size = Math.round(Number(match[1]) * 1024 ** power);
  return power === 0 && size > 0 && size < 1024 ** 2 ? undefined : size;
}

/** A whole number from what people type: "600", "1,000", "200k", "1.5M". Undefined when it is not one. */
export function parseCount(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([kmg]?)$/i.exec(pointed(ungrouped(text)).trim());
  if (!match) return undefined;
  const value = Number(match[1]) * 1000 ** ["", "k", "m", "g"].indexOf((match[2] ?? "").toLowerCase());
  return Number.isInteger(Math.round(value * 1e6) / 1e6) ? Math.round(value) : undefined;
}

/** Seconds from what people type: "90", "90 s", "15 min", "2 h", "1d". Undefined when it is none: "2M" are millions. */
export function parseSeconds(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*(s|min|m|h|d)?$/.exec(pointed(text).trim());
  if (!match) return undefined;
  return Number(match[1]) * { s: 1, m: 60, min: 60, h: 3600, d: 86_400 }[(match[2] ?? "s") as "s"];
}

/** Seconds from a length of one or several units: "9h", "1 h 30 min", "2 d". Undefined when it is none. */
export function parseDuration(text: string): number | undefined {
  const given = pointed(text.trim());
  const parts = given.match(/\d+(?:\.\d+)?\s*(?:min|[smhd])(?![a-z])/g) ?? [];
  if (parts.length === 0 || parts.join("").replace(/\s/g, "") !== given.replace(/\s/g, "")) return undefined;
  return parts.reduce((sum, part) => sum + (parseSeconds(part) ?? NaN), 0);
}

/** "Tue 24 Nov, 14:15", by the clock of a zone. */
export function clock(at: number | string, zone: string): string {
  const shown = {
    weekday: "short",
    day: "numeric",
    month: "short",
    hour: "2-digit",
    minute: "2-digit",
    hour12: false,
    timeZone: zone,
  } as const;
  return new Date(at).toLocaleString(DATES, shown).replace(/^(\w+)\.?,/, "$1");
}

/** Words of a command line: spaces separate, quotes hold together, # begins a comment. */
export function splitWords(text: string): string[] {
  const withoutComments = text.replace(/(^|\s)#.*$/gm, "$1");
  const found = withoutComments.matchAll(/(?:[^\s"']|"[^"]*"|'[^']*')+/g);
  return [...found].map(([word]) => word.replace(/"([^"]*)"|'([^']*)'/g, (_, a, b) => a ?? b ?? ""));
}

/** A measured time: 0.0123 -> "12.3 ms", 1.256 -> "1.26 s". */
export function latency(seconds: Maybe): string {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  if (seconds >= 99.95) return duration(seconds);
  if (seconds >= 0.9995) return `${(seconds < 9.995 ? HUNDREDTHS_KEPT : TENTHS_KEPT).format(seconds)} s`;
  const ms = seconds * 1000;
  if (ms === 0) return "0 ms";
  return `${(ms < 9.995 ? HUNDREDTHS_KEPT : ms < 99.95 ? TENTHS_KEPT : WHOLE).format(ms)} ms`;
}

/** A difference to a figure that is not 0: 1.25 -> "+25 %", 0.987 -> "-1.3 %". */
export function change(ratio: number): string {
  const part = (ratio - 1) * 100;
  const text = (Math.abs(part) < 9.95 ? TENTHS_KEPT : WHOLE).format(part);
  return `${part >= 0 ? "+" : ""}${text} %`;
}
