import { describe, expect, it } from "vitest";
import { Answer } from "./answer.svelte";

const words = (error: unknown) => (error as Error).message;

/** A promise that is settled from outside. */
class Later<T> {
  resolve!: (value: T) => void;
  reject!: (error: Error) => void;
  readonly promise = new Promise<T>((resolve, reject) => Object.assign(this, { resolve, reject }));
}

describe("an answer", () => {
  it("is dropped when another question was asked in the meantime", async () => {
    const answer = new Answer<string>(words);
    const [first, second] = [new Later<string>(), new Later<string>()];
    const asked = [answer.ask(() => first.promise), answer.ask(() => second.promise)];
    second.resolve("new");
    first.resolve("old");
    await Promise.all(asked);
    expect(answer.value).toBe("new");
  });

  it("that failed late says nothing", async () => {
    const answer = new Answer<string>(words);
    const [first, second] = [new Later<string>(), new Later<string>()];
    const asked = [answer.ask(() => first.promise), answer.ask(() => second.promise)];
    second.resolve("new");
    first.reject(new Error("too late"));
    await Promise.all(asked);
    expect([answer.value, answer.problem]).toEqual(["new", undefined]);
  });

  it("is kept beside a problem, which the next one ends", async () => {
    const answer = new Answer<string>(words);
    await answer.ask(() => Promise.resolve("known"));
    await answer.ask(() => Promise.reject(new Error("away")));
    expect([answer.value, answer.problem]).toEqual(["known", "away"]);
    await answer.ask(() => Promise.resolve("back"));
    expect([answer.value, answer.problem]).toEqual(["back", undefined]);
  });

  it("does not come once it is forgotten", async () => {
    const answer = new Answer<string>(words);
    const first = new Later<string>();
    const asked = answer.ask(() => first.promise);
    answer.forget();
    first.resolve("old");
    await asked;
    expect(answer.value).toBeUndefined();
  });
});
