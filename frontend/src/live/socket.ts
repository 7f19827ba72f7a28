/** A websocket that comes back. Whoever reads it gets a snapshot first after every reconnect, so nothing is replayed here. */
import { retold } from "../language/retold";
import { backoffSeconds } from "./backoff";

export type LinkState = "connecting" | "open" | "waiting";

export interface Link {
  close(): void;
}

export interface Reader {
  message(frame: unknown): void;
  state?(state: LinkState): void;
  /** The server refused or ended it: true keeps trying. */
  ended?(code: number): boolean;
}

/** Rows and events hold sentences; readings come every second and hold none, and logs are what engines wrote. */
const TOLD = "/ws/lifecycle";

type Open = (url: string) => WebSocket;

const webSocket: Open = (url) => new WebSocket(url);

/** Open `path` on this host, and again whenever it is lost. */
export function link(path: string, reader: Reader, open: Open = webSocket, random: () => number = Math.random): Link {
  let attempt = 0;
  let stopped = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let socket: WebSocket | undefined;

  function begin(): void {
    reader.state?.("connecting");
    socket = open(address(path));
    socket.onmessage = (event: MessageEvent<string>) => {
      attempt = 0; // it spoke, so a later loss begins with a short wait
      const frame: unknown = JSON.parse(event.data);
      reader.message(path === TOLD ? retold(frame) : frame);
    };
    socket.onopen = () => reader.state?.("open");
    socket.onclose = (event) => lost(event.code);
  }

  function lost(code: number): void {
    if (stopped) return;
    reader.state?.("waiting");
    if (reader.ended?.(code) === false) {
      stopped = true;
      return;
    }
    timer = setTimeout(begin, backoffSeconds(attempt, random()) * 1000);
    attempt += 1;
  }

  begin();
  return {
    close() {
      stopped = true;
      clearTimeout(timer);
      socket?.close();
    },
  };
}

function address(path: string): string {
  const { protocol, host } = globalThis.location;
  return `${protocol === "https:" ? "wss" : "ws"}://${host}${path}`;
}
