/** Server-sent events out of a stream of text, whatever pieces it comes in. Pure. */

/** One event, or a comment, which keeps a stream open while nothing is said. */
export interface Told {
  readonly event: string;
  readonly data: string;
  readonly comment: string;
}

/** Takes pieces of text, gives the events that are whole. */
export class Events {
  private rest = "";

  read(piece: string): Told[] {
    const parts = (this.rest + piece).replaceAll("\r\n", "\n").split("\n\n");
    this.rest = parts.pop() ?? "";
    return parts.map(told).filter((one) => one.data !== "" || one.comment !== "");
  }
}

function told(block: string): Told {
  const lines = block.split("\n");
  const of = (name: string) =>
    lines.filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).replace(/^ /, ""));
  return { event: of("event").at(-1) ?? "message", data: of("data").join("\n"), comment: of("").join("\n") };
}
