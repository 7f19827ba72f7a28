/** Where sentences are in what the server sends: by the names of the fields that hold them. */
import { learned, told } from "./told";

const words = (text: string) => new Set(text.split(" "));

/** Each holds a sentence, or a list of them. What a form reads and sends back is not among them. */
const SENTENCES = words(
  "default degraded drift fix lines meaning message note notes not_done outdated phase " +
    "restarts sentence sentences settings times title unknown warnings why why_not words zone_database",
);
/** Each holds sentences by name. */
const BY_NAME = words("messages sources verbs");
/** What people wrote themselves. */
const THEIRS = words("cordon environment labels");
/** Words for who acted, where it stands beside a sentence; elsewhere a code. */
const ACTOR = "by";

/** The same answer with its sentences in the reader's language; `given` is changed. */
export function retold<T>(given: T): T {
  if (learned()) walk(given);
  return given;
}

/** What is wrong with each field of a form, in the reader's language. */
export function retoldFields(fields: Record<string, unknown>): Record<string, unknown> {
  return learned() ? (everyText(fields) as Record<string, unknown>) : fields;
}

function walk(given: unknown): void {
  if (given === null || typeof given !== "object") return;
  const row = given as Record<string, unknown>;
  for (const [name, value] of Object.entries(row)) {
    if (typeof value === "string") {
      if (SENTENCES.has(name) || (name === ACTOR && "sentence" in row)) row[name] = told(value);
    } else if (BY_NAME.has(name) || (SENTENCES.has(name) && isTexts(value))) {
      row[name] = everyText(value);
    } else if (!THEIRS.has(name)) {
      walk(value);
    }
  }
}

const isTexts = (value: unknown) => Array.isArray(value) && value.every((one) => typeof one === "string");

function everyText(value: unknown): unknown {
  if (typeof value === "string") return told(value);
  if (Array.isArray(value)) return value.map(everyText);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, everyText(one)]));
}
