/** The only place where numbers become text. The rest of the page knows bytes, seconds and ratios. */

export const UNKNOWN = "–";
type Maybe = number | null | undefined;

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;

/** 17179869184 -> "16 GiB"; three significant digits, base 1024. */
export function bytes(value: Maybe): string {
  if (value === null || value === undefined) return UNKNOWN;
  let scaled = value;
  let unit = 0;
  while (Math.abs(scaled) >= 1023.5 && unit < UNITS.length - 1) {
    scaled /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || Math.abs(scaled) >= 99.95 ? 0 : 1;
  return `${scaled.toFixed(digits).replace(/\.0$/, "")} ${UNITS[unit]}`;
}

/** "12.5 of 80 GiB", both in the unit of the whole. */
export function share(part: Maybe, whole: number): string {
  if (part === null || part === undefined) return `${UNKNOWN} of ${bytes(whole)}`;
  const text = bytes(whole);
  const unit = UNITS.indexOf(text.split(" ")[1] as (typeof UNITS)[number]);
  return `${(part / 1024 ** unit).toFixed(1).replace(/\.0$/, "")} of ${text}`;
}

/** 0.425 -> "43 %". */
export function percent(ratio: Maybe): string {
  return ratio === null || ratio === undefined ? UNKNOWN : `${Math.round(ratio * 100)} %`;
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
  return value > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value).toLocaleString("en");
}

export function count(value: Maybe): string {
  return value === null || value === undefined ? UNKNOWN : value.toLocaleString("en");
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

/** How long ago an instant was, in its biggest unit; a clock that is behind counts as now. */
export function since(at: string | null | undefined, now: number): string {
  if (!at) return UNKNOWN;
  const seconds = Math.max(0, Math.floor((now - Date.parse(at)) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 86_400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}

/** "GPU-5f0c…91ab": enough of a UUID to recognise it. */
export function shortUuid(uuid: string): string {
  return uuid.length <= 20 ? uuid : `${uuid.slice(0, 10)}…${uuid.slice(-4)}`;
}

/** "3 replicas", "1 replica". */
export function plural(value: number, word: string): string {
  return `${count(value)} ${word}${value === 1 ? "" : "s"}`;
}

/** Bytes from what people type: "16 GiB", "512m", "1.5T", "1048576". Undefined when it is not a size. */
export function parseBytes(text: string): number | undefined {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?\s*$/i.exec(text);
  if (!match) return undefined;
  const power = ["", "k", "m", "g", "t", "p"].indexOf((match[2] ?? "").toLowerCase());
  return Math.round(Number(match[1]) * 1024 ** power);
}

/** Words of a command line: spaces separate, quotes hold together, # begins a comment. */
export function splitWords(text: string): string[] {
  const withoutComments = text.replace(/(^|\s)#.*$/gm, "$1");
  const found = withoutComments.matchAll(/(?:[^\s"']|"[^"]*"|'[^']*')+/g);
  return [...found].map(([word]) => word.replace(/"([^"]*)"|'([^']*)'/g, (_, a, b) => a ?? b ?? ""));
}
