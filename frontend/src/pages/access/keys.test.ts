import { describe, expect, it } from "vitest";
import { key, team } from "./access.fake";
import {
  curlLine,
  keyChange,
  keyDraft,
  keyRequest,
  keyState,
  lastUsed,
  localTime,
  matchingKeys,
  teamDraft,
  teamRequest,
  withScope,
} from "./keys";

const NOW = Date.parse("2030-01-01T00:00:00Z");

describe("a key's state", () => {
  it.each([
    [{}, "usable"],
    [{ expires_at: "2030-01-01T00:00:01Z" }, "usable"],
    [{ expires_at: "2030-01-01T00:00:00Z" }, "expired"],
    [{ expires_at: "2029-01-01T00:00:00Z", revoked_at: "2029-06-01T00:00:00Z" }, "revoked"],
  ] as const)("of %j is %s", (given, state) => expect(keyState(key(given), NOW)).toBe(state));
});

describe("when a key was last used", () => {
  it("is never said of what nobody records", () => {
    expect(lastUsed(key({ last_used_at: "2029-12-31T23:59:30Z" }), NOW)).toBe("30 s ago");
    expect(lastUsed(key(), NOW)).toBe("never");
    expect(lastUsed(key({ scopes: ["read", "manage"] }), NOW)).toBe("not recorded");
  });
});

describe("the form of a key", () => {
  it("asks for a name and a scope", () => {
    expect(keyRequest({ ...keyDraft(), scopes: [] }).wrong).toEqual({
      name: "give it a name",
      scopes: "choose at least one",
    });
  });

  it("makes a key for every model, without a team, for ever", () => {
    const { request, wrong } = keyRequest({ ...keyDraft(), name: " app " });
    expect(wrong).toEqual({});
    expect(request).toMatchObject({
      name: "app",
      scopes: ["inference"],
      team: null,
      allowed_models: [],
      expires_at: null,
    });
  });

  it("asks for models where it is not for every one", () => {
    const some = { ...keyDraft(key({ allowed_models: ["chat"] })) };
    expect(keyRequest(some).request.allowed_models).toEqual(["chat"]);
    expect(keyRequest({ ...some, every_model: true }).request.allowed_models).toEqual([]);
    expect(keyRequest({ ...some, allowed_models: [] }).wrong).toEqual({
      allowed_models: "choose at least one, or every model",
    });
  });

  it("leaves an expiry alone that nobody touched, and writes one that somebody did", () => {
    const row = key({ expires_at: "2030-01-31T12:00:42.5Z" });
    expect(keyRequest(keyDraft(row), row).request).not.toHaveProperty("expires_at");
    expect(keyRequest({ ...keyDraft(row), expires_at: "" }, row).request.expires_at).toBeNull();
    const moved = keyRequest({ ...keyDraft(row), expires_at: localTime(NOW) }, row).request;
    expect(moved.expires_at).toBe("2030-01-01T00:00:00.000Z");
  });

  it("never writes scopes of a key there is", () => {
    expect(keyChange(keyRequest(keyDraft(key()), key()).request)).not.toHaveProperty("scopes");
  });

  it("keeps inference and manage apart", () => {
    expect(withScope(["inference", "read"], "manage", true)).toEqual(["read", "manage"]);
    expect(withScope(["read", "manage"], "inference", true)).toEqual(["read", "inference"]);
    expect(withScope(["inference"], "read", true)).toEqual(["inference", "read"]);
    expect(withScope(["inference", "read"], "read", false)).toEqual(["inference"]);
  });
});

describe("a list of keys", () => {
  const keys = [
    key({ id: 1, name: "App", team_name: "blue", allowed_models: ["gpt-4"] }),
    key({ id: 2, name: "ci", scopes: ["read"], revoked_at: "2029-01-01T00:00:00Z" }),
  ];

  it.each([
    ["", false, [1]],
    ["", true, [1, 2]],
    ["app BLUE", false, [1]],
    ["gpt", false, [1]],
    ["blue ci", true, []],
    ["read", false, []],
    ["read", true, [2]],
  ])("searched for %j, revoked ones %s, shows %j", (query, revoked, ids) =>
    expect(matchingKeys(keys, query, revoked).map(({ id }) => id)).toEqual(ids),
  );
});

describe("the line that tries a key", () => {
  const at = { gateway: "http://here:8001", web: "http://here:8000" };

  it("asks a model", () => {
    expect(curlLine({ key: "sk-1", scopes: ["inference", "read"] }, "chat", at)).toBe(
      `curl http://here:8001/v1/chat/completions -H 'Authorization: Bearer sk-1' -H 'Content-Type: application/json' ` +
        `-d '{"model":"chat","messages":[{"role":"user","content":"Hello"}]}'`,
    );
  });

  it("looks at the API where the key is for that", () => {
    expect(curlLine({ key: "sk-1", scopes: ["read"] }, "chat", at)).toBe(
      "curl http://here:8000/api/deployments -H 'Authorization: Bearer sk-1'",
    );
  });
});

describe("the form of a team", () => {
  it("comes back as it was", () => {
    const row = team({ weight: 3, priority: -1, tokens_per_minute: 200_000 });
    expect(teamRequest(teamDraft(row))).toMatchObject({
      request: { name: "blue", weight: 3, priority: -1, tokens_per_minute: 200_000, requests_per_minute: null },
      wrong: {},
    });
  });

  it("says what is wrong at each field", () => {
    const { wrong } = teamRequest({
      ...teamDraft(),
      weight: "0",
      priority: "",
      quota: { ...teamDraft().quota, tokens_per_day: "x" },
    });
    expect(Object.keys(wrong).sort()).toEqual(["name", "priority", "tokens_per_day", "weight"]);
  });
});
