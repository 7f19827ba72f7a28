import { describe, expect, it } from "vitest";
import type { EngineFrame } from "../api/types";
import { GIB, engine, frame, replica } from "../live/rows.fake";
import { kvLimitWords } from "./kvLimit";

const chat = replica({ profile: { kv_limit_bytes: 60 * GIB } });
const code = replica({ id: 2, deployment: 2, deployment_name: "code" });

function words(given: Partial<EngineFrame>, sizes = {}, others: string[] = ["code"]): string | undefined {
  const segment = { ipc_name: "srdz_1", limit_bytes: 60 * GIB, used_bytes: 2 * GIB, prealloc_bytes: 0, ...sizes };
  const neighbours = others.map((name, index) => ({ ...code, ...replica({ id: index + 2, deployment_name: name }) }));
  const rest = neighbours.map((one) => engine({ marker: one.marker, kv_limit_bytes: GIB, kv_limit_why: "share" }));
  const seen = frame({ engines: [engine({ kv_limit_bytes: 60 * GIB, ...given }), ...rest], segments: [segment] });
  return kvLimitWords(chat, [chat, ...neighbours], seen);
}

describe("a replica's KV limit", () => {
  it("says what holds it where it is", () => {
    expect(words({ kv_limit_why: "free" })).toBe("may use all it can address");
    expect(words({ kv_limit_why: "claim" })).toBe("leaves KV memory to one that loads or wakes");
    expect(words({ kv_limit_why: "floor" })).toBe("held to its KV floor");
  });

  it("names whom it shares with", () => {
    expect(words({ kv_limit_why: "share" })).toBe("shares KV memory with code");
    expect(words({ kv_limit_why: "share" }, {}, ["code", "draft"])).toBe("shares KV memory with code and draft");
    expect(words({ kv_limit_why: "share" }, {}, ["a", "b", "c"])).toBe("shares KV memory with 3 others");
    expect(words({ kv_limit_why: "share" }, {}, [])).toBe("shares KV memory with its neighbours");
  });

  it("says both limits where another is in force than is asked for", () => {
    const asked = { kv_limit_bytes: 22 * GIB, kv_limit_why: "share" };
    expect(words(asked, { limit_bytes: 30 * GIB, used_bytes: 29 * GIB })).toBe(
      "22 GiB asked for, 30 GiB in force until requests end; shares KV memory with code",
    );
    expect(words(asked, { limit_bytes: 10 * GIB })).toBe(
      "22 GiB asked for, 10 GiB in force; shares KV memory with code",
    );
    expect(words(asked, { limit_bytes: 22 * GIB, used_bytes: 29 * GIB })).toBe(
      "22 GiB asked for, 29 GiB in use until requests end; shares KV memory with code",
    );
  });

  it("takes no notice of a difference that limits are not moved for", () => {
    const asked = { kv_limit_bytes: 22 * GIB, kv_limit_why: "share" };
    expect(words(asked, { limit_bytes: 22.9 * GIB })).toBe("shares KV memory with code");
  });

  it("is not told where nobody decides it, or of an earlier start's engine", () => {
    expect(words({ kv_limit_bytes: null })).toBeUndefined();
    expect(words({ marker: "1:0", kv_limit_why: "free" })).toBeUndefined();
    expect(kvLimitWords(chat, [chat], undefined)).toBeUndefined();
  });
});
