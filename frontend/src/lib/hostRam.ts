/** What the bar of a node's RAM shows: the server's ledger, put in the order of the rows. Pure; decides nothing about bytes. */
import { word } from "../language/word";
import type { HostLedger, ReplicaRow } from "../api/types";
import { bytes, share } from "./format";

export interface HostPart {
  readonly key: string;
  readonly kind: "awake" | "asleep" | "others";
  readonly bytes: number;
  /** Whose it is and how much, as a tooltip says it. */
  readonly words: string;
  /** Whose colour it has. */
  readonly deployment: number | undefined;
}

const KINDS = { awake: word("awake"), asleep: word("asleep"), others: "other processes" } as const;

/** What has a width in the bar, left to right: sleepers, engines that are awake, what is no engine's. */
export function hostParts(ledger: HostLedger, replicas: ReadonlyMap<number, ReplicaRow>): HostPart[] {
  const holdings = ledger.holdings.toSorted(
    (a, b) => Number(b.asleep) - Number(a.asleep) || a.replica_id - b.replica_id,
  );
  const parts = holdings.map((one): HostPart => {
    const row = replicas.get(one.replica_id);
    const kind = one.asleep ? "asleep" : "awake";
    const name = row?.deployment_name ?? `replica ${one.replica_id}`;
    return {
      key: one.marker,
      kind,
      bytes: one.held_bytes,
      words: `${name}, ${KINDS[kind]}: ${bytes(one.held_bytes)}`,
      deployment: row?.deployment,
    };
  });
  const others: HostPart = {
    key: "others",
    kind: "others",
    bytes: ledger.others_bytes,
    words: `${KINDS.others}: ${bytes(ledger.others_bytes)}`,
    deployment: undefined,
  };
  return [...parts, others].filter((part) => part.bytes > 0);
}

/** The whole bar in words, for who cannot see it. */
export function hostWords(ledger: HostLedger, parts: readonly HostPart[], budget: number | null): string {
  const used = ledger.total_bytes - ledger.available_bytes;
  return [
    `Host RAM: ${share(used, ledger.total_bytes)} in use`,
    ...parts.map((part) => part.words),
    `${bytes(ledger.available_bytes)} available`,
    `${bytes(ledger.margin_bytes)} kept free`,
    ...(budget ? [`sleepers hold ${share(ledger.sleepers_bytes, budget)} that they may`] : []),
  ].join("; ");
}
