/** How many GPUs at once are shown on the fleet's page. Pure. */

export type FleetView = "cards" | "dense";
export const VIEWS: Record<FleetView, string> = { cards: "Cards", dense: "Dense" };
/** So many cards are read at a glance; of more GPUs a line each says enough. */
const CARDS_AT_MOST = 16;

/** As the address says, else as suits so many GPUs. */
export function fleetView(search: string, gpus: number): FleetView {
  const asked = new URLSearchParams(search).get("view");
  return asked === "cards" || asked === "dense" ? asked : gpus > CARDS_AT_MOST ? "dense" : "cards";
}
