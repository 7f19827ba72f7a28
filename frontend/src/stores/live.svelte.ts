/** The fleet as it is now: two sockets folded into two values that components read. */
import { untrack } from "svelte";
import type { DeploymentRow, Frame, GPURow, NodeRow, ReplicaRow } from "../api/types";
import { announcement } from "../lib/words";
import { heard, type BenchmarkFrame, type Benchmarks } from "../live/benchmarks";
import { connection, oldSince, type Connection } from "../live/connection";
import { NO_FLEET, applyLifecycle, type Fleet, type LifecycleFrame } from "../live/lifecycle";
import { link, type Link, type LinkState } from "../live/socket";
import { NO_TELEMETRY, applyTelemetry, type Telemetry, type TelemetryFrame } from "../live/telemetry";
import { isOn } from "../lib/memory";
import { notices } from "./notices.svelte";
import { session } from "./session.svelte";

class Live {
  fleet = $state.raw<Fleet>(NO_FLEET);
  telemetry = $state.raw<Telemetry>(NO_TELEMETRY);
  /** What was heard of benchmarks since the page was opened. */
  benchmarks = $state.raw<Benchmarks>(new Map());
  now = $state(Date.now());
  private rowsLink = $state<LinkState>("connecting");
  private framesLink = $state<LinkState>("connecting");
  private everOpen = $state(false);
  private frameAt = $state<number>();
  private lostAt = $state<number>();
  private links: Link[] = [];
  private clock: ReturnType<typeof setInterval> | undefined;

  get connection(): Connection {
    const age = this.frameAt === undefined ? undefined : (this.now - this.frameAt) / 1000;
    return connection([this.rowsLink, this.framesLink], this.everOpen, age);
  }

  /** Since when what is shown is old; undefined while it is not. */
  get oldSince(): number | undefined {
    return this.fleet.known ? oldSince(this.connection, this.lostAt, this.frameAt) : undefined;
  }

  /** Open both sockets. */
  begin(): void {
    this.clock = setInterval(() => (this.now = Date.now()), 1000);
    this.links = [
      link("/ws/lifecycle", {
        message: (frame) => this.hear(frame as LifecycleFrame | BenchmarkFrame),
        state: (state) => this.linked("rowsLink", state),
        ended: () => this.lost(),
      }),
      link("/ws/telemetry", {
        message: (frame) => this.frames(frame as TelemetryFrame),
        state: (state) => this.linked("framesLink", state),
      }),
    ];
  }

  /** Close both and forget everything: another person may sign in. */
  end(): void {
    for (const held of this.links) held.close();
    clearInterval(this.clock);
    this.links = [];
    this.fleet = NO_FLEET;
    this.benchmarks = new Map();
    this.telemetry = NO_TELEMETRY;
    this.everOpen = false;
    this.frameAt = undefined;
    this.lostAt = undefined;
  }

  /** A row that a verb answered with: it need not wait for its event. */
  take(row: ReplicaRow): void {
    this.rows({ type: "event", kind: "replica", id: row.id, seq: row.seq, row });
  }

  /** Whoever opens the sockets within an effect does not depend on how they stand. */
  private linked(which: "rowsLink" | "framesLink", state: LinkState): void {
    untrack(() => {
      this[which] = state;
      const lost = this.rowsLink !== "open" || this.framesLink !== "open";
      this.lostAt = lost ? (this.lostAt ?? Date.now()) : undefined;
    });
  }

  private hear(frame: LifecycleFrame | BenchmarkFrame): void {
    if (frame.type === "event" && frame.kind === "benchmark") this.benchmarks = heard(this.benchmarks, frame);
    else this.rows(frame);
  }

  private rows(frame: LifecycleFrame): void {
    if (frame.type === "snapshot") this.everOpen = true;
    if (frame.type === "event" && frame.kind === "replica" && frame.row !== null) {
      const words = announcement(this.fleet.replicas.get(frame.id), frame.row as ReplicaRow);
      if (words !== undefined) notices.speak(words);
    }
    this.fleet = applyLifecycle(this.fleet, frame);
  }

  private frames(message: TelemetryFrame): void {
    const before = this.telemetry;
    this.telemetry = applyTelemetry(before, message);
    if (this.telemetry !== before && this.telemetry.frames.size > 0) this.frameAt = Date.now();
  }

  /** A socket also closes when the session has ended; only the API can tell. */
  private lost(): boolean {
    void session.look();
    return true;
  }

  readonly nodes: NodeRow[] = $derived([...this.fleet.nodes.values()].sort((a, b) => a.name.localeCompare(b.name)));
  readonly deployments: DeploymentRow[] = $derived(
    [...this.fleet.deployments.values()].sort((a, b) => a.name.localeCompare(b.name)),
  );
  readonly replicas: ReplicaRow[] = $derived(
    [...this.fleet.replicas.values()].sort((a, b) => a.deployment - b.deployment || a.id - b.id),
  );
  readonly gpus: GPURow[] = $derived(
    [...this.fleet.gpus.values()].sort((a, b) => a.node - b.node || a.index - b.index || a.id - b.id),
  );
  /** By GPU id: hundreds of rows ask for it, each time a row changes. */
  private readonly placed = $derived(
    new Map(this.gpus.map((gpu) => [gpu.id, this.replicas.filter((replica) => isOn(replica, gpu))])),
  );

  /** "GPU 1", with its node where there are several. */
  nameOfGpu = (id: number): string => {
    const gpu = this.fleet.gpus.get(id);
    if (gpu === undefined) return "a GPU that is gone";
    const node = this.fleet.nodes.size > 1 ? `${this.fleet.nodes.get(gpu.node)?.name} ` : "";
    return `${node}GPU ${gpu.index}`;
  };

  gpusOf(node: NodeRow): GPURow[] {
    return this.gpus.filter((gpu) => gpu.node === node.id);
  }

  replicasOn(gpu: GPURow): ReplicaRow[] {
    return this.placed.get(gpu.id) ?? [];
  }

  frameOf(node: number): Frame | undefined {
    const name = this.fleet.nodes.get(node)?.name;
    return name === undefined ? undefined : this.telemetry.frames.get(name);
  }
}

export const live = new Live();
