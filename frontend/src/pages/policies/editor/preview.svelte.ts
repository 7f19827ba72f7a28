/** When a window that is being written would open: asked of the server once nobody has typed for a moment. */
import { ApiError, previewWindow } from "../../../api/client";
import type { Preview, WindowRequest } from "../../../api/types";
import { Answer } from "../../../stores/answer.svelte";
import { inWords } from "../../../stores/verbs";

const TYPING_MS = 350;
/** Refused while the form is not filled in yet, which is no news. */
const UNNAMED = "unnamed";

export class PreviewLook {
  private readonly answer = new Answer<Preview>((error) => this.wordsOf(error));
  /** What the server says of single fields. */
  refused = $state.raw<ApiError>();

  get value(): Preview | undefined {
    return this.answer.value;
  }

  get problem(): string | undefined {
    return this.answer.problem;
  }

  /** Ask; the result calls it off. */
  begin(request: WindowRequest, window: number | undefined): () => void {
    const given = { ...request, name: request.name || UNNAMED };
    const timer = setTimeout(() => void this.ask(given, window), TYPING_MS);
    return () => {
      clearTimeout(timer);
      this.answer.drop();
    };
  }

  private async ask(given: WindowRequest, window: number | undefined): Promise<void> {
    await this.answer.ask(() => previewWindow(given, window));
    if (this.answer.problem === undefined) this.refused = undefined;
  }

  private wordsOf(error: unknown): string {
    this.refused = error instanceof ApiError ? error : undefined;
    return inWords(error);
  }
}
