/** Which page an address is, and the address of each; `sardeenz/pages.py` has the same. Pure. */

export const PAGES = [
  { page: "fleet", href: "/", word: "Fleet" },
  { page: "models", href: "/models", word: "Models" },
  { page: "policies", href: "/policies", word: "Policies" },
  { page: "access", href: "/access", word: "Access" },
  { page: "usage", href: "/usage", word: "Usage" },
  { page: "requests", href: "/requests", word: "Requests" },
] as const;
export const TABS = [
  { tab: "keys", href: "/access/keys", word: "API keys" },
  { tab: "teams", href: "/access/teams", word: "Teams" },
  { tab: "aliases", href: "/access/aliases", word: "Aliases" },
] as const;

/** "none" is an address of nothing. */
export type Page = (typeof PAGES)[number]["page"] | "none";
export type Tab = (typeof TABS)[number]["tab"];

/** The page of a path. */
export function pageOf(path: string): Page {
  if (TABS.some(({ href }) => path === href)) return "access";
  return PAGES.find(({ href }) => path === href)?.page ?? "none";
}

/** The part of the access page that a path shows. */
export function tabOf(path: string): Tab {
  return TABS.find(({ href }) => path === href)?.tab ?? "keys";
}

export interface Click {
  readonly button: number;
  readonly altKey: boolean;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly shiftKey: boolean;
  readonly defaultPrevented: boolean;
}

export interface Link {
  /** The whole address. */
  readonly href: string;
  readonly target: string;
  readonly download: string;
}

/** The address to show in place; undefined where the browser is to follow the link itself. */
export function inPlace(click: Click, link: Link, origin: string): string | undefined {
  const plain =
    click.button === 0 && !(click.altKey || click.ctrlKey || click.metaKey || click.shiftKey || click.defaultPrevented);
  if (!plain || (link.target !== "" && link.target !== "_self") || link.download !== "") return undefined;
  const to = new URL(link.href);
  const known = [...PAGES, ...TABS].some(({ href }) => href === to.pathname);
  return known && to.origin === origin && to.hash === "" ? to.pathname + to.search : undefined;
}
