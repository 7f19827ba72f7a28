/** What a decision was made from, as lines that people read: sizes in GiB, lengths in words. Pure. */
import { word } from "../language/word";
import { bytes, duration, span } from "./format";

const INDENT = "  ";

/** One line for each value; what belongs to it stands below, indented. */
export function inputLines(inputs: unknown, depth = 0): string[] {
  if (inputs === null || typeof inputs !== "object") return [INDENT.repeat(depth) + valueWords("", inputs)];
  const before = INDENT.repeat(depth);
  if (Array.isArray(inputs)) {
    return inputs.flatMap((one) => {
      const [first = "", ...rest] = inputLines(one, depth + 1);
      return [`${before}- ${first.trimStart()}`, ...rest];
    });
  }
  return Object.entries(inputs).flatMap(([name, value]) => {
    const plain = value === null || typeof value !== "object";
    if (plain) return [`${before}${nameWords(name)}: ${valueWords(name, value)}`];
    const below = inputLines(value, depth + 1);
    return below.length ? [`${before}${nameWords(name)}:`, ...below] : [`${before}${nameWords(name)}: none`];
  });
}

function nameWords(name: string): string {
  return name.replace(/_(bytes|seconds)$/, "").replaceAll("_", " ");
}

function valueWords(name: string, value: unknown): string {
  if (value === null || value === "") return value === null ? "not known" : word("none");
  if (typeof value === "boolean") return value ? word("yes") : word("no");
  if (typeof value === "number" && name.endsWith("_bytes")) return bytes(value);
  if (typeof value === "number" && name.endsWith("_seconds")) return value < 60 ? span(value) : duration(value);
  return String(value);
}
