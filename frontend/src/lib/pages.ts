/** Which page an address is, and the address of each; `sardeenz/pages.py` has the same. Pure. */

interface Entry {
  readonly page: string;
  readonly href: string;
  readonly word: string;
  /** Single things have addresses below its own: /things/NAME, which `thingOf` tells. */
  readonly things?: true;
}

/** A new page stands here, in `pages/load.ts` and in `sardeenz/pages.py`. */
export const PAGES = [
  { page: "fleet", href: "/", word: "Fleet" },
  { page: "deployments", href: "/deployments", word: "Deployments", things: true },
  { page: "models", href: "/models", word: "Models" },
  { page: "playground", href: "/playground", word: "Playground" },
  { page: "nodes", href: "/nodes", word: "Nodes & GPUs" },
  { page: "evictions", href: "/evictions", word: "Evictions" },
  { page: "decisions", href: "/decisions", word: "Decisions" },
  { page: "policies", href: "/policies", word: "Policies" },
  { page: "access", href: "/access", word: "Access" },
  { page: "traffic", href: "/traffic", word: "Traffic" },
  { page: "usage", href: "/usage", word: "Usage" },
  { page: "requests", href: "/requests", word: "Requests" },
  { page: "benchmarks", href: "/benchmarks", word: "Benchmarks", things: true },
  { page: "settings", href: "/settings", word: "Settings" },
] as const satisfies readonly Entry[];
export const TABS = [
  { tab: "keys", href: "/access/keys", word: "API keys" },
  { tab: "teams", href: "/access/teams", word: "Teams" },
  { tab: "aliases", href: "/access/aliases", word: "Aliases" },
] as const;

/** How pages stand together in the navigation; one that stands in none is in the last. */
const GROUPS: readonly { readonly word: string; readonly pages: readonly string[] }[] = [
  { word: "Run", pages: ["fleet", "deployments", "models", "playground", "nodes"] },
  { word: "Observe", pages: ["traffic", "requests", "usage", "evictions", "decisions"] },
  { word: "Govern", pages: ["policies", "access", "benchmarks", "settings"] },
];

/** The pages in their groups, in the order of these. */
export function grouped<P extends { readonly page: string }>(pages: readonly P[]): { word: string; pages: P[] }[] {
  const placed = new Set(GROUPS.flatMap((group) => group.pages));
  return GROUPS.map(({ word, pages: names }, index) => {
    const others = index === GROUPS.length - 1 ? pages.filter(({ page }) => !placed.has(page)) : [];
    return { word, pages: [...names.flatMap((name) => pages.filter(({ page }) => page === name)), ...others] };
  }).filter((group) => group.pages.length > 0);
}

/** A page that there is. */
export type KnownPage = (typeof PAGES)[number]["page"];
/** "none" is an address of nothing. */
export type Page = KnownPage | "none";
export type Tab = (typeof TABS)[number]["tab"];

/** The page of a path. */
export function pageOf(path: string, pages: readonly Entry[] = PAGES): Page {
  if (TABS.some(({ href }) => path === href)) return "access";
  const found = pages.find(({ href, things }) => path === href || (things && below(path, href) !== ""));
  return (found?.page as KnownPage | undefined) ?? "none";
}

/** The part of the access page that a path shows. */
export function tabOf(path: string): Tab {
  return TABS.find(({ href }) => path === href)?.tab ?? "keys";
}

/** The single thing that a path shows, as its page names it; "" where it shows all of them. */
export function thingOf(path: string, pages: readonly Entry[] = PAGES): string {
  return pages.map(({ href, things }) => (things ? below(path, href) : "")).find((thing) => thing !== "") ?? "";
}

function below(path: string, href: string): string {
  const [, rest] = path.startsWith(`${href}/`) ? path.split(`${href}/`, 2) : [];
  if (!rest || rest.includes("/")) return "";
  try {
    return decodeURIComponent(rest);
  } catch {
    return "";
  }
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
  const known = pageOf(to.pathname) !== "none";
  return known && to.origin === origin && to.hash === "" ? to.pathname + to.search : undefined;
}
