import { describe, expect, it } from "vitest";
import { whyTitle } from "./why";

describe("the title", () => {
  it("names a replica and a deployment as people type them", () => {
    expect(whyTitle({ kind: "replica", of: "7", name: "chat/7" })).toBe("Why chat/7 is where it is");
  });

  it("of a call asks for its time, for its id says nothing to people", () => {
    expect(whyTitle({ kind: "call", of: "8f3a", name: "8f3a" })).toBe("Where this call's time went");
  });
});
