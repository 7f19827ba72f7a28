import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { whileVisible } from "./visible";

class Page extends EventTarget {
  hidden = false;

  show(seen: boolean): void {
    this.hidden = !seen;
    this.dispatchEvent(new Event("visibilitychange"));
  }
}

let page: Page;
let asked = 0;
const ask = async () => void (asked += 1);
const after = (seconds: number) => vi.advanceTimersByTimeAsync(seconds * 1000);

beforeEach(() => {
  vi.useFakeTimers();
  page = new Page();
  vi.stubGlobal("document", page);
  asked = 0;
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

it("asks at once, again and again, and no more when it is stopped", async () => {
  const stop = whileVisible(10, ask);
  expect(asked).toBe(1);
  await after(25);
  expect(asked).toBe(3);
  stop();
  await after(60);
  page.show(true);
  expect(asked).toBe(3);
});

it("is quiet while nobody looks, and asks as soon as somebody does", async () => {
  page.hidden = true;
  whileVisible(10, ask);
  await after(60);
  expect(asked).toBe(0);
  page.show(true);
  expect(asked).toBe(1);
});

it("never asks twice at a time", async () => {
  let answer = () => {};
  whileVisible(10, () => new Promise((resolve) => ((asked += 1), (answer = resolve))));
  await after(60);
  page.show(true);
  expect(asked).toBe(1);
  answer();
  await after(10);
  expect(asked).toBe(2);
});
