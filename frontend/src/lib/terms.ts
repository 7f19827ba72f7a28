/** What the words of the pages mean. Pure. */
export interface Term {
  readonly word: string;
  readonly about: string;
}

/** In the order of what builds on what; a catalogue has them in its own language. */
export const TERMS: readonly Term[] = [
  { word: "Model", about: "Weights that can be served: a folder or an id of the Hugging Face Hub." },
  {
    word: "Deployment",
    about: "What is to be served of a model: its name for clients, its settings, how many replicas.",
  },
  {
    word: "Replica",
    about: "One placed copy of a deployment: an engine on one GPU, or on several that share the model.",
  },
  { word: "Engine", about: "The process that runs a replica, such as vLLM. It listens to gateways alone." },
  { word: "Runtime", about: "An installed engine program with its version and variables; deployments name one." },
  {
    word: "Gateway",
    about: "The one endpoint that clients call. It finds a replica, waits for it, and counts what is used.",
  },
  { word: "Node", about: "A host with GPUs. A worker for each GPU loads, sleeps and ends its engines." },
  { word: "Weights", about: "The model's parameters in GPU memory." },
  {
    word: "Overhead",
    about: "GPU memory of an engine beside weights and KV cache: CUDA context, graphs, activations.",
  },
  {
    word: "KV cache",
    about: "What an engine remembers of the tokens it has seen. It grows with every token in flight.",
  },
  {
    word: "KV cache kept mapped",
    about: "KV memory that an engine has not given back yet, so that its next call is quick.",
  },
  { word: "KV floor", about: "KV memory that a replica always has. It is reserved when the replica is placed." },
  { word: "KV cap", about: "The most KV memory a replica may grow to." },
  {
    word: "KV limit",
    about: "What a replica may use at this moment, between floor and cap. It follows demand each second.",
  },
  { word: "KV weight", about: "A replica's part where replicas of one priority compete for KV memory." },
  {
    word: "Reserved",
    about: "GPU memory that is promised to replicas: weights, overhead and KV floor. It is never promised twice.",
  },
  { word: "Headroom", about: "GPU memory that is kept free of every reservation." },
  { word: "Kept while asleep", about: "What a sleeping engine still holds of its GPU: its CUDA context." },
  {
    word: "Orphan",
    about: "An engine of ours that no replica owns, such as after a crash. It can be adopted or ended.",
  },
  { word: "Other processes", about: "GPU memory of processes that are not of Sardeenz." },
  { word: "Unexplained", about: "The difference between what the device says and what its processes hold." },
  { word: "Sleep, level 1", about: "The weights go to host RAM, the GPU is free. Waking takes about a second." },
  { word: "Sleep, level 2", about: "The weights are given up. Nothing is held in host RAM; waking reads them again." },
  { word: "Rehearsal", about: "A first sleep and wake right after a load, while nobody waits: later ones are quick." },
  {
    word: "Eviction",
    about: "A replica sleeps or stops because another model is asked for and there is no room for both.",
  },
  { word: "Pinned", about: "Never put to sleep or stopped to make room for others." },
  {
    word: "Priority",
    about: "Who is kept longer where memory is short; of keys and teams, who goes first in a queue.",
  },
  { word: "Move", about: "A copy starts on another GPU, takes over once it is ready, and no call fails." },
  { word: "Cordon", about: "A GPU takes nothing new; what runs there runs on." },
  { word: "Drain", about: "A GPU is cordoned, and every replica there moves away." },
  { word: "Window", about: "What deployments have at times that recur: who is awake, priorities, KV memory." },
  { word: "Override", about: "What an operator says against a window, and until when that holds." },
  { word: "Seat", about: "A place for one more call at a ready model; others wait in its queue." },
  { word: "First token", about: "From the arrival of a request to the first piece of its answer (TTFT)." },
  { word: "p50 and p95", about: "Half of the calls took at most the first, 19 of 20 at most the second." },
  { word: "Capture", about: "Calls kept with their text, redacted, for as long as somebody asked for." },
  { word: "SLO", about: "What calls have to keep, such as a first token within half a second." },
  { word: "Drill", about: "A benchmark of what the platform itself does: sleeping, waking, moving, evicting." },
];

/** Those whose word or meaning has what is looked for. */
export function termsWith(find: string): Term[] {
  const wanted = find.trim().toLowerCase();
  return TERMS.filter(({ word, about }) => `${word} ${about}`.toLowerCase().includes(wanted));
}
