/** Where each page's code is. It is loaded when the page is first opened, so that nobody waits for pages not looked at. */
import type { Component } from "svelte";
import type { Page } from "../lib/pages";

export const LOAD: Readonly<Record<Page, () => Promise<{ default: Component }>>> = {
  fleet: () => import("./fleet/Fleet.svelte"),
  deployments: () => import("./deployments/Deployments.svelte"),
  models: () => import("./models/Models.svelte"),
  playground: () => import("./playground/Playground.svelte"),
  nodes: () => import("./nodes/Nodes.svelte"),
  evictions: () => import("./evictions/Evictions.svelte"),
  decisions: () => import("./decisions/Decisions.svelte"),
  policies: () => import("./policies/Policies.svelte"),
  access: () => import("./access/Access.svelte"),
  traffic: () => import("./traffic/Traffic.svelte"),
  usage: () => import("./usage/Usage.svelte"),
  requests: () => import("./requests/Requests.svelte"),
  benchmarks: () => import("./benchmarks/Benchmarks.svelte"),
  settings: () => import("./settings/Settings.svelte"),
  none: () => import("./not-found/NotFound.svelte"),
};
