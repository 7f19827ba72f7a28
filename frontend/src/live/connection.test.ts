import { expect, it } from "vitest";
import { connection, oldSince, STALE_SECONDS } from "./connection";

it("is live only with both sockets and a reading of late", () => {
  expect(connection(["connecting", "open"], false, undefined)).toBe("connecting");
  expect(connection(["open", "open"], true, STALE_SECONDS)).toBe("live");
  expect(connection(["open", "open"], true, STALE_SECONDS + 1)).toBe("stale");
  expect(connection(["open", "connecting"], true, 0)).toBe("reconnecting");
});

it("is old since a socket was lost, although the other goes on, else since the last reading", () => {
  expect(oldSince("reconnecting", 7000, 9000)).toBe(7000);
  expect(oldSince("stale", undefined, 9000)).toBe(9000);
  expect(oldSince("live", undefined, 9000)).toBeUndefined();
  expect(oldSince("connecting", 7000, undefined)).toBeUndefined();
});
