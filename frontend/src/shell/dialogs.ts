/** Where each dialog's code is: loaded when it is first opened, and given what `Open` says beside its kind. */
import type { Component } from "svelte";
import type { Open } from "../stores/dialogs.svelte";

type About<K extends Open["kind"]> = Omit<Extract<Open, { kind: K }>, "kind">;

export const LOAD: { readonly [K in Open["kind"]]: () => Promise<{ default: Component<About<K>> }> } = {
  confirm: () => import("./ConfirmDialog.svelte"),
  move: () => import("../deploy/MoveDialog.svelte"),
  deploy: () => import("../deploy/DeployDialog.svelte"),
  key: () => import("../pages/access/KeyDialog.svelte"),
  made: () => import("../pages/access/MadeDialog.svelte"),
  team: () => import("../pages/access/TeamDialog.svelte"),
  alias: () => import("../pages/access/AliasDialog.svelte"),
  window: () => import("../pages/policies/editor/WindowDialog.svelte"),
  timers: () => import("../pages/policies/TimersDialog.svelte"),
  runtime: () => import("../pages/settings/RuntimeDialog.svelte"),
  token: () => import("../pages/settings/TokenDialog.svelte"),
  benchmark: () => import("../pages/benchmarks/form/RunDialog.svelte"),
  why: () => import("../pages/why/WhyDialog.svelte"),
  maintenance: () => import("../pages/nodes/MaintenanceDialog.svelte"),
  history: () => import("../pages/history/HistoryDialog.svelte"),
  terms: () => import("../pages/terms/TermsDialog.svelte"),
};
