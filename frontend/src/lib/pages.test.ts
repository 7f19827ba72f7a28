import { expect, it } from "vitest";
import { pageOf, tabOf } from "./pages";

it.each([
  ["/", "fleet", "keys"],
  ["/access", "access", "keys"],
  ["/access/teams", "access", "teams"],
  ["/access/nothing", "access", "keys"],
  ["/usage", "usage", "keys"],
  ["/usages", "fleet", "keys"],
  ["/anything/else", "fleet", "keys"],
])("%s is the page %s", (path, page, tab) => expect([pageOf(path), tabOf(path)]).toEqual([page, tab]));
