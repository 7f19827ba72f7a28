/** Names for the parts of the generated schema that the page uses. */
import type { components } from "./schema";

type Schemas = components["schemas"];

export type Snapshot = Schemas["Snapshot"];
export type NodeRow = Snapshot["nodes"][number];
export type GPURow = Snapshot["gpus"][number];
export type DeploymentRow = Schemas["DeploymentRow"];
export type ReplicaRow = Schemas["ReplicaRow"];
export type State = ReplicaRow["state"];
export type Frame = Schemas["Frame"];
export type GPUFrame = Schemas["GPUFrame"];
export type EngineFrame = Schemas["EngineFrame"];
export type SegmentFrame = Schemas["SegmentFrame"];
export type Me = Schemas["Me"];
export type Model = Schemas["Model"];
export type ModelRequest = Schemas["ModelRequest"];
export type Runtime = Schemas["Runtime"];
export type DeploymentRequest = Schemas["DeploymentRequest"];

/** What a replica may be asked to do. */
export type Verb = "start" | "stop" | "restart" | "sleep" | "wake" | "move" | "cancel";
