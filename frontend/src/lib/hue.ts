/** One hue per deployment: steps of the golden angle keep any number of neighbours apart, and an id never changes. */
const GOLDEN_ANGLE = 137.508;
const FIRST_HUE = 195;

export function hue(deployment: number): number {
  return Math.round((FIRST_HUE + deployment * GOLDEN_ANGLE) % 360);
}
