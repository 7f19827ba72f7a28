/** Where a sentence falls apart: not within brackets or backticks; at a colon into two, for the rest is one thing. */
export type Between = ". " | "; " | ": " | ", " | " and " | " -> ";

export function split(text: string, between: Between): string[] {
  const parts: string[] = [];
  let depth = 0;
  let quoted = false;
  let begin = 0;
  for (let at = 0; at < text.length; at += 1) {
    const letter = text.charAt(at);
    if (letter === "`") quoted = !quoted;
    else if (!quoted && letter === "(") depth += 1;
    else if (!quoted && letter === ")") depth -= 1;
    if (quoted || depth !== 0 || !text.startsWith(between, at)) continue;
    if (between === ". " && !/[A-Z`]/.test(text.charAt(at + 2))) continue;
    parts.push(text.slice(begin, between === ". " ? at + 1 : at));
    begin = at + between.length;
    if (between === ": ") break;
    at = begin - 1;
  }
  return begin === 0 ? [text] : [...parts, text.slice(begin)];
}
