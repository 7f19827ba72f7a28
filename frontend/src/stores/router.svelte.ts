/** Which address is shown. Links to the dashboard's pages change it in place; all others are the browser's. */
import { inPlace, pageOf, tabOf, thingOf, type Page, type Tab } from "../lib/pages";

class Router {
  path = $state(location.pathname);
  /** With its "?", or "". */
  search = $state(location.search);

  constructor() {
    addEventListener("popstate", () => this.read());
  }

  get page(): Page {
    return pageOf(this.path);
  }

  get tab(): Tab {
    return tabOf(this.path);
  }

  /** The single thing that is shown; "" where all of them are. */
  get thing(): string {
    return thingOf(this.path);
  }

  /** Show an address; "back" leads here again. */
  go(href: string): void {
    if (href === location.pathname + location.search) return;
    history.pushState(null, "", href);
    this.read();
    scrollTo(0, 0);
  }

  /** Say what is shown more closely, such as a filter; "back" does not undo it. */
  amend(search: string): void {
    history.replaceState(null, "", location.pathname + search);
    this.read();
  }

  /** Follow the link that was clicked, if it leads to a page. */
  follow(event: MouseEvent): void {
    const link = event.target instanceof Element ? event.target.closest<HTMLAnchorElement>("a[href]") : null;
    const href = link && inPlace(event, link, location.origin);
    if (!href) return;
    event.preventDefault();
    this.go(href);
  }

  private read(): void {
    this.path = location.pathname;
    this.search = location.search;
  }
}

export const router = new Router();
