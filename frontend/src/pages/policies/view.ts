/** What the page is looking at, as its address says it. Pure. */

export interface View {
  /** By whose clock the week is drawn: an IANA name. */
  readonly zone: string;
  /** A day of the week shown, as "2030-01-31"; "" is this week. */
  readonly day: string;
  /** The instant that is looked at, in milliseconds; undefined is now. */
  readonly at: number | undefined;
}

const DAY = /^\d{4}-\d{2}-\d{2}$/;
const DAY_MS = 86_400_000;

/** What an address asks for; `zone` is the browser's own. */
export function viewOf(search: string, zone: string): View {
  const asked = new URLSearchParams(search);
  const day = asked.get("day") ?? "";
  const at = Date.parse(asked.get("at") ?? "");
  return {
    zone: asked.get("zone") || zone,
    day: DAY.test(day) ? day : "",
    at: Number.isNaN(at) ? undefined : at,
  };
}

/** The address of a view: what is as it would be without saying is not said. */
export function searchOf(view: View, zone: string): string {
  const said = new URLSearchParams();
  if (view.zone !== zone) said.set("zone", view.zone);
  if (view.day) said.set("day", view.day);
  if (view.at !== undefined) said.set("at", new Date(view.at).toISOString().replace(".000", ""));
  return said.size ? `?${said}` : "";
}

/** So many days later than "2030-01-31". */
export function daysLater(day: string, count: number): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + count * DAY_MS).toISOString().slice(0, 10);
}
