/** Engines that no replica owns: adopted, or ended. */
import { adoptOrphan, endOrphan } from "../../../api/client";
import { dialogs } from "../../../stores/dialogs.svelte";
import { live } from "../../../stores/live.svelte";
import { attempt } from "../../../stores/verbs";

/** Make it a replica. */
export async function adopt(marker: string): Promise<void> {
  await attempt(`adopt engine ${marker}`, async () => {
    const row = await adoptOrphan(marker);
    live.take(row);
    return `Engine ${marker} is a replica of ${row.deployment_name} now.`;
  });
}

/** End it once somebody said yes. */
export function confirmEnd(marker: string): void {
  dialogs.confirm({
    title: `End engine ${marker}?`,
    text: "No replica owns it, so no calls reach it. Its processes end at once, and its memory is freed.",
    action: "End",
    run: async () =>
      void (await attempt(`end engine ${marker}`, async () => {
        await endOrphan(marker);
        return `Engine ${marker} is ended.`;
      })),
  });
}
