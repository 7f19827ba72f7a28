/** Benchmarks: read while they are looked at, told by the websocket meanwhile, asked for and ended here. */
import { benchmark, benchmarks, cancelBenchmark, deleteBenchmark } from "../../api/client";
import type { Benchmark, BenchmarkRow } from "../../api/types";
import { withHeard } from "../../live/benchmarks";
import { hue } from "../../lib/hue";
import { Answer } from "../../stores/answer.svelte";
import { dialogs } from "../../stores/dialogs.svelte";
import { live } from "../../stores/live.svelte";
import { notices } from "../../stores/notices.svelte";
import { router } from "../../stores/router.svelte";
import { session } from "../../stores/session.svelte";
import { inWords } from "../../stores/verbs";

interface Read {
  rows: readonly BenchmarkRow[];
  /** The newest event that was known when they were asked for. */
  askedAt: number;
}

class Runs {
  private readonly read = new Answer<Read>();
  readonly one = new Answer<Benchmark>();
  readonly several = new Answer<readonly Benchmark[]>();

  /** Every benchmark, the newest first; undefined while nothing is known. */
  get list(): readonly BenchmarkRow[] | undefined {
    const { value } = this.read;
    return value && withHeard(value.rows, live.benchmarks, value.askedAt);
  }

  get problem(): string | undefined {
    return this.read.problem;
  }

  async look(): Promise<void> {
    const askedAt = Math.max(0, ...[...live.benchmarks.values()].map((one) => one.seq));
    await this.read.ask(async () => ({ rows: await benchmarks(), askedAt }));
  }

  lookAt(id: number): Promise<void> {
    return this.one.ask(() => benchmark(id));
  }

  compare(ids: readonly number[]): Promise<void> {
    return this.several.ask(() => Promise.all(ids.map((id) => benchmark(id))));
  }

  /** Another person may sign in. */
  forget(): void {
    this.read.forget();
    this.one.forget();
    this.several.forget();
  }

  cancel(row: BenchmarkRow): Promise<void> {
    return this.change(`Benchmark ${row.id} ends; what was measured until now is kept.`, () => cancelBenchmark(row.id));
  }

  /** Forget a benchmark once somebody said yes. */
  confirmDelete(row: BenchmarkRow): void {
    dialogs.confirm({
      title: `Delete benchmark ${row.id}?`,
      text: "Its figures are gone then. To keep them elsewhere, download them first.",
      action: "Delete",
      run: async () => {
        await this.change(`Benchmark ${row.id} is deleted.`, () => deleteBenchmark(row.id));
        router.go("/benchmarks");
      },
    });
  }

  private async change(done: string, ask: () => Promise<unknown>): Promise<void> {
    try {
      await ask();
      notices.done(done);
    } catch (error) {
      notices.error(inWords(error));
    }
    await this.look();
  }
}

export const runs = new Runs();
session.atEnd(() => runs.forget());

const LETTER_HUE = 31;

/** A deployment's own colour, as everywhere; one that is gone has a colour by its name. */
export function colourOf(name: string): string {
  const found = live.deployments.find((one) => one.name === name);
  const letters = [...name].reduce((sum, letter) => (sum * LETTER_HUE + letter.charCodeAt(0)) % 9973, 7);
  const h = hue(found?.id ?? letters);
  return `light-dark(oklch(0.55 0.15 ${h}), oklch(0.75 0.13 ${h}))`;
}
