/** What a decision was made from, as lines that people read: sizes in GiB, lengths and moments in words. Pure. */
import { word } from "../language/word";
import { bytes, duration, span, utc } from "./format";
import { INPUT_NAMES } from "./inputNames";

const INDENT = "  ";
const BYTES = new Set(["free", "needs", "frees", "short", "excess"]);
const MOMENTS = new Set(["now", "since", "until"]);

type Unit = "bytes" | "seconds" | "moment";

/** One line for each value; what belongs to it stands below, indented. A map's values are of the unit that its name says. */
export function inputLines(inputs: unknown, depth = 0, each?: Unit): string[] {
  if (inputs === null || typeof inputs !== "object") return [INDENT.repeat(depth) + valueWords(inputs, each)];
  const before = INDENT.repeat(depth);
  if (Array.isArray(inputs)) {
    return inputs.flatMap((one) => {
      const [first = "", ...rest] = inputLines(one, depth + 1);
      return [`${before}- ${first.trimStart()}`, ...rest];
    });
  }
  return Object.entries(inputs).flatMap(([name, value]) => {
    const unit = unitOf(name);
    if (value === null || typeof value !== "object") {
      return [`${before}${nameWords(name)}: ${valueWords(value, unit ?? each)}`];
    }
    const below = inputLines(value, depth + 1, unit === "moment" ? undefined : unit);
    return below.length ? [`${before}${nameWords(name)}:`, ...below] : [`${before}${nameWords(name)}: ${word("none")}`];
  });
}

function unitOf(name: string): Unit | undefined {
  if (name.endsWith("_bytes") || BYTES.has(name)) return "bytes";
  if (name.endsWith("seconds")) return "seconds";
  return name.endsWith("_at") || MOMENTS.has(name) ? "moment" : undefined;
}

/** Names of inputs are the API's own; those without words of their own read as they are. */
function nameWords(name: string): string {
  const plain = name.replace(/_(bytes|seconds)$/, "");
  return INPUT_NAMES[plain] ?? plain.replaceAll("_", " ");
}

function valueWords(value: unknown, unit: Unit | undefined): string {
  if (value === null || value === "") return value === null ? "not known" : word("none");
  if (typeof value === "boolean") return value ? word("yes") : word("no");
  if (unit === "moment") return momentWords(value);
  if (typeof value === "number" && unit === "bytes") return bytes(value);
  if (typeof value === "number" && unit === "seconds") return value < 60 ? span(value) : duration(value);
  return String(value);
}

/** Of Unix seconds or of ISO 8601. */
function momentWords(value: unknown): string {
  const at = new Date(typeof value === "number" ? value * 1000 : String(value));
  return Number.isNaN(at.getTime()) ? String(value) : utc(at.toISOString());
}
