/** A replica that is dragged onto another GPU moves there, once somebody has seen what that would do. */
import type { Attachment } from "svelte/attachments";
import type { GPURow, ReplicaRow } from "../../api/types";
import { isOn } from "../../lib/memory";
import { dialogs } from "../../stores/dialogs.svelte";
import { session } from "../../stores/session.svelte";

let held: ReplicaRow | undefined;

/** What it is taken by, where it may move. */
export function carries(replica: ReplicaRow): Attachment<HTMLElement> {
  return (node) => {
    node.draggable = session.user?.operator === true && replica.verbs.move === null;
    node.style.cursor = node.draggable ? "grab" : "";
    node.ondragstart = (event) => {
      held = replica;
      event.dataTransfer?.setData("text/plain", replica.deployment_name);
      if (event.dataTransfer) event.dataTransfer.effectAllowed = "move";
    };
    node.ondragend = () => (held = undefined);
  };
}

/** Where it may be put down; `data-receives` marks it meanwhile. */
export function receives(gpu: GPURow): Attachment<HTMLElement> {
  return (node) => {
    const mark = (on: boolean) => node.toggleAttribute("data-receives", on);
    node.ondragover = (event) => {
      if (held === undefined || isOn(held, gpu)) return;
      event.preventDefault();
      mark(true);
    };
    node.ondragleave = (event) => {
      if (!node.contains(event.relatedTarget as Node | null)) mark(false);
    };
    node.ondrop = (event) => {
      event.preventDefault();
      mark(false);
      if (held !== undefined) dialogs.move(held, gpu.uuid);
    };
  };
}
