/** Conversations with up to four models at once. They go on while another page is looked at, until somebody stops them. */
import { ApiError, chat } from "../../api/client";
import { router } from "../../stores/router.svelte";
import { session } from "../../stores/session.svelte";
import { after, asked, ended, failed, isOpen, stopped, type Reply } from "./answer";
import { body, PANES, settingsFromQuery, settingsToQuery, type Settings, type Turn } from "./asking";
import { Events } from "./stream";

export class Conversation {
  turns = $state.raw<readonly Turn[]>([]);
  private ending = new AbortController();

  get open(): boolean {
    const last = this.turns.at(-1);
    return last !== undefined && isOpen(last.reply);
  }

  /** Ask, and fold what comes into the last turn until it has ended. */
  async ask(model: string, settings: Settings, images: readonly string[]): Promise<void> {
    const given = body(model, settings, this.turns, images);
    this.ending = new AbortController();
    this.turns = [...this.turns, { prompt: settings.prompt, images, reply: asked(Date.now()) }];
    try {
      await this.read(given, this.ending.signal);
      this.change((reply) => ended(reply, Date.now()));
    } catch (error) {
      if (this.ending.signal.aborted) return;
      const words = error instanceof ApiError ? error.message : "The answer broke off before its end.";
      this.change((reply) => failed(reply, words, Date.now()));
      if (error instanceof ApiError && error.status === 401) await session.look();
    }
  }

  private async read(given: object, signal: AbortSignal): Promise<void> {
    const answer = await chat(given, signal);
    this.change((reply) => ({ ...reply, requestId: answer.headers.get("X-Request-Id") ?? "" }));
    const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
    const events = new Events();
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
      if (done) return;
      const told = events.read(value);
      this.change((reply) => told.reduce((before, one) => after(before, one, Date.now()), reply));
    }
  }

  /** End the answer that comes; what came of it stays. */
  stop(): void {
    this.change(stopped);
    this.ending.abort();
  }

  clear(): void {
    this.stop();
    this.turns = [];
  }

  private change(to: (reply: Reply) => Reply): void {
    const last = this.turns.at(-1);
    if (last && isOpen(last.reply)) this.turns = [...this.turns.slice(0, -1), { ...last, reply: to(last.reply) }];
  }
}

class Playground {
  settings = $state<Settings>(settingsFromQuery(""));
  images = $state.raw<readonly string[]>([]);
  panes = $state.raw<readonly Conversation[]>([new Conversation()]);

  get open(): boolean {
    return this.panes.some((pane) => pane.open);
  }

  get begun(): boolean {
    return this.panes.some((pane) => pane.turns.length > 0);
  }

  /** Set everything as an address says, unless it says nothing. */
  take(search: string): void {
    if (search === "" || search === "?") return this.tell();
    this.settings = settingsFromQuery(search);
    const { models } = this.settings;
    this.panes = models.map((_, index) => this.panes[index] ?? new Conversation());
  }

  /** The address says what is set. */
  tell(): void {
    const query = settingsToQuery(this.settings);
    router.amend(query ? `?${query}` : "");
  }

  add(model: string): void {
    if (this.panes.length >= PANES) return;
    this.settings.models.push(model);
    this.panes = [...this.panes, new Conversation()];
    this.tell();
  }

  remove(index: number): void {
    this.panes[index]?.stop();
    this.settings.models.splice(index, 1);
    this.panes = this.panes.filter((_, at) => at !== index);
    this.tell();
  }

  /** The same prompt to every pane that has a model. */
  ask(): void {
    const settings = $state.snapshot(this.settings);
    for (const [index, pane] of this.panes.entries()) {
      const model = settings.models[index];
      if (model) void pane.ask(model, settings, this.images);
    }
    this.tell();
    this.settings.prompt = "";
    this.images = [];
  }

  stop(): void {
    for (const pane of this.panes) pane.stop();
  }

  clear(): void {
    for (const pane of this.panes) pane.clear();
  }

  forget(): void {
    this.clear();
    this.settings = settingsFromQuery("");
    this.images = [];
    this.panes = [new Conversation()];
  }
}

export const playground = new Playground();
session.atEnd(() => playground.forget());
