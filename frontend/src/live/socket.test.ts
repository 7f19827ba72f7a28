import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { backoffSeconds } from "./backoff";
import { connection } from "./connection";
import { link, type LinkState } from "./socket";

class FakeSocket {
  static opened: FakeSocket[] = [];
  onopen?: () => void;
  onmessage?: (event: { data: string }) => void;
  onclose?: (event: { code: number }) => void;
  closed = false;

  constructor(readonly url: string) {
    FakeSocket.opened.push(this);
  }

  close(): void {
    this.closed = true;
  }
}

const open = (url: string) => new FakeSocket(url) as unknown as WebSocket;
const newest = () => FakeSocket.opened.at(-1) as FakeSocket;

describe("a link", () => {
  beforeEach(() => {
    FakeSocket.opened = [];
    vi.useFakeTimers();
    vi.stubGlobal("location", { protocol: "https:", host: "h:1" });
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  it("hands on frames and says where it stands", () => {
    const frames: unknown[] = [];
    const states: LinkState[] = [];
    link("/ws/x", { message: (frame) => frames.push(frame), state: (state) => states.push(state) }, open);
    newest().onopen?.();
    newest().onmessage?.({ data: '{"a":1}' });
    expect(newest().url).toBe("wss://h:1/ws/x");
    expect(frames).toEqual([{ a: 1 }]);
    expect(states).toEqual(["connecting", "open"]);
  });

  it("comes back later each time, and soon after it spoke", () => {
    link("/ws/x", { message: () => undefined }, open, () => 1);
    const waits: number[] = [];
    for (let loss = 0; loss < 4; loss += 1) {
      newest().onclose?.({ code: 1006 });
      const before = FakeSocket.opened.length;
      let waited = 0;
      while (FakeSocket.opened.length === before) {
        vi.advanceTimersByTime(500);
        waited += 500;
      }
      waits.push(waited);
    }
    expect(waits).toEqual([500, 1000, 2000, 4000]);
    newest().onmessage?.({ data: "{}" });
    newest().onclose?.({ code: 1006 });
    vi.advanceTimersByTime(500);
    expect(FakeSocket.opened).toHaveLength(6);
  });

  it("stays closed when the reader gives up, or when it is closed here", () => {
    link("/ws/x", { message: () => undefined, ended: (code) => code !== 4404 }, open);
    newest().onclose?.({ code: 4404 });
    vi.advanceTimersByTime(60_000);
    expect(FakeSocket.opened).toHaveLength(1);
    const held = link("/ws/x", { message: () => undefined }, open);
    held.close();
    newest().onclose?.({ code: 1000 });
    vi.advanceTimersByTime(60_000);
    expect(newest().closed).toBe(true);
    expect(FakeSocket.opened).toHaveLength(2);
  });
});

describe("the connection", () => {
  it("is live only with both links and a recent frame", () => {
    expect(connection(["connecting", "connecting"], false, undefined)).toBe("connecting");
    expect(connection(["open", "open"], true, 1)).toBe("live");
    expect(connection(["open", "open"], true, 9)).toBe("stale");
    expect(connection(["open", "open"], true, undefined)).toBe("stale");
    expect(connection(["open", "waiting"], true, 1)).toBe("reconnecting");
  });

  it("waits at most a quarter of a minute", () => {
    expect(backoffSeconds(50, 1)).toBe(15);
    expect(backoffSeconds(0, 0)).toBe(0.25);
  });
});
