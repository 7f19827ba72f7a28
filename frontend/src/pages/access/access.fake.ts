/** Teams, keys and aliases for tests: whatever is not said has a sensible value. */
import type { Alias, Key, Team } from "../../api/types";

export function team(given: Partial<Team> = {}): Team {
  return { id: 1, name: "blue", weight: 1, priority: 0, keys: 0, created_at: "2029-01-01T00:00:00Z", ...given };
}

export function key(given: Partial<Key> = {}): Key {
  return {
    id: 1,
    name: "app",
    prefix: "sk-srdz-abc123",
    scopes: ["inference"],
    team: null,
    team_name: null,
    owner_name: "admin",
    allowed_models: [],
    usable: true,
    created_at: "2029-01-01T00:00:00Z",
    expires_at: null,
    revoked_at: null,
    last_used_at: null,
    ...given,
  };
}

export function alias(...targets: [name: string, weight: number][]): Alias {
  return {
    id: 1,
    name: "gpt-4",
    created_at: "2029-01-01T00:00:00Z",
    targets: targets.map(([name, weight], index) => ({
      deployment: index + 1,
      deployment_name: name,
      served_name: name,
      weight,
    })),
  };
}
