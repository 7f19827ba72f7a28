/** A chart as it is drawn. Pure. */

export type Values = (number | null)[];

export interface Layer {
  /** A custom property of the page's colours, or a colour. */
  readonly colour: string;
  readonly name: string;
  readonly values: Values;
  /** Not a whole line, so that it is told from another of its colour. */
  readonly dashed?: boolean;
}

export interface Drawing {
  readonly title: string;
  /** Ascending: seconds since 1970, or what `showAt` says. */
  readonly at: number[];
  /** Each is drawn over the one before it; stacked ones hold sums, the lowest first. */
  readonly layers: Layer[];
  readonly stacked: boolean;
  /** Higher than one among many lines under one another. */
  readonly tall?: boolean;
  readonly top: number | undefined;
  readonly show: (value: number) => string;
  /** What stands under the chart; unless it is said, the time of day. */
  readonly showAt?: (at: number) => string;
  /** The whole chart in a sentence. */
  readonly words: string;
}
