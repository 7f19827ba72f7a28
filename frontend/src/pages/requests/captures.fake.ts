/** Captured calls for tests: whatever is not said has a sensible value. */
import type { Capture } from "../../api/types";

export function capture(given: Partial<Capture> = {}): Capture {
  return {
    id: "1-0",
    at: "2030-01-01T00:00:00Z",
    request_id: "req-1",
    deployment: 1,
    deployment_name: "chat",
    served_name: "chat",
    asked_name: "chat",
    key_id: 1,
    key_name: "app",
    team: null,
    team_name: null,
    method: "POST",
    path: "/v1/chat/completions",
    stream: false,
    status: 200,
    outcome: "ok",
    replica_id: 1,
    queue_seconds: 0,
    wake_seconds: 0,
    ttft_seconds: null,
    e2e_seconds: 1,
    prompt_tokens: 1,
    cached_tokens: 0,
    completion_tokens: 1,
    headers: { "content-type": "application/json" },
    request: "{}",
    request_bytes: 2,
    response: "{}",
    response_bytes: 2,
    ...given,
  };
}
