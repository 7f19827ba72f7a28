/** Names for the parts of the generated schema that the page uses. */
import type { components } from "./schema";

type Schemas = components["schemas"];

/** Every code that an error of the server may carry. */
export type ErrorCode = Schemas["ErrorCode"];
export type Snapshot = Schemas["Snapshot"];
export type NodeRow = Snapshot["nodes"][number];
export type GPURow = Snapshot["gpus"][number];
export type DeploymentRow = Schemas["DeploymentRow"];
export type ReplicaRow = Schemas["ReplicaRow"];
export type Waiting = NonNullable<DeploymentRow["waiting"]>;
export type ServiceRow = Schemas["ServiceRow"];
export type State = ReplicaRow["state"];
export type Frame = Schemas["NodeFrame"];
export type GPUFrame = Frame["gpus"][number];
export type EngineFrame = Frame["engines"][number];
export type SegmentFrame = Frame["segments"][number];
export type Ledger = Frame["ledgers"][string];
export type HostLedger = NonNullable<Frame["host_ram"]>;
export type Profile = Schemas["ProfileRow"];
export type Unowned = Ledger["foreign"][number];
export type Fit = Schemas["Fit"];
export type GPUFit = Fit["gpus"][number];
export type Me = Schemas["Me"];
export type Model = Schemas["Model"];
export type Runtime = Schemas["Runtime"];
export type RuntimeRequest = Schemas["RuntimeRequest"];
export type Settings = Schemas["Settings"];
export type DeploymentRequest = Schemas["IntentRequest"];
export type Team = Schemas["Team"];
export type TeamRequest = Schemas["TeamRequest"];
export type Key = Schemas["Key"];
export type NewKey = Schemas["NewKey"];
export type KeyRequest = Schemas["NewKeyRequest"];
export type KeyChange = Schemas["PatchedKeyRequest"];
export type Scope = Key["scopes"][number];
export type Alias = Schemas["Alias"];
export type AliasRequest = Schemas["AliasRequest"];
export type HoursPage = Schemas["HoursPage"];
export type HoursRow = Schemas["HoursRow"];
export type Sums = Schemas["Sums"];
export type UsageCall = Schemas["Usage"];
export type WindowRow = Schemas["WindowRow"];
export type WindowRequest = Schemas["WindowRequest"];
export type WindowStateRequest = Schemas["WindowStateRequest"];
export type Opening = WindowRow["next"][number];
export type Preview = Schemas["PreviewRow"];
export type OverrideRow = Schemas["OverrideRow"];
export type Plan = Schemas["PlanRow"];
export type Ahead = Schemas["AheadRow"];
export type InForce = Schemas["InForceRow"];
export type Week = Schemas["WeekRow"];
export type Lane = Week["lanes"][number];
export type Span = Lane["spans"][number];
export type History = Schemas["History"];
export type Why = Schemas["Why"];
export type Capture = Schemas["Capture"];
export type Captures = Schemas["Captures"];

/** What a replica may be asked to do. */
export type Verb = "start" | "stop" | "restart" | "sleep" | "wake" | "move" | "cancel";
