/** What the page says: notices that stay until read, and words for screen readers. */

export interface Notice {
  readonly id: number;
  readonly kind: "error" | "done";
  readonly text: string;
}

const SHOWN_SECONDS = 6;

class Notices {
  list = $state.raw<readonly Notice[]>([]);
  spoken = $state("");
  private next = 1;

  /** Say that something was done; it goes away by itself. */
  done(text: string): void {
    const id = this.add("done", text);
    setTimeout(() => this.dismiss(id), SHOWN_SECONDS * 1000);
  }

  /** Say that something failed; it stays until dismissed. */
  error(text: string): void {
    this.add("error", text);
  }

  speak(text: string): void {
    this.spoken = text;
  }

  dismiss(id: number): void {
    this.list = this.list.filter((notice) => notice.id !== id);
  }

  private add(kind: Notice["kind"], text: string): number {
    const same = this.list.find((notice) => notice.kind === kind && notice.text === text);
    if (same !== undefined) return same.id;
    const id = this.next;
    this.next += 1;
    this.list = [...this.list, { id, kind, text }].slice(-4);
    return id;
  }
}

export const notices = new Notices();
