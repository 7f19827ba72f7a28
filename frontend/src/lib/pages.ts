/** Which page an address is, and the address of each. Pure. */

export const PAGES = [
  { page: "fleet", href: "/", word: "Fleet" },
  { page: "access", href: "/access", word: "Access" },
  { page: "usage", href: "/usage", word: "Usage" },
] as const;
export const TABS = [
  { tab: "keys", href: "/access/keys", word: "API keys" },
  { tab: "teams", href: "/access/teams", word: "Teams" },
  { tab: "aliases", href: "/access/aliases", word: "Aliases" },
] as const;

export type Page = (typeof PAGES)[number]["page"];
export type Tab = (typeof TABS)[number]["tab"];

/** The page of a path; whatever is no page's is the fleet's. */
export function pageOf(path: string): Page {
  return PAGES.find(({ href }) => href !== "/" && (path === href || path.startsWith(`${href}/`)))?.page ?? "fleet";
}

/** The part of the access page that a path shows. */
export function tabOf(path: string): Tab {
  return TABS.find(({ href }) => path === href)?.tab ?? "keys";
}
