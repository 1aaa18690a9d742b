// Short news at the edge of the screen, said aloud by screen readers, gone by itself.

export type Toast = { id: number; text: string; kind: "good" | "bad" };
const SHOWN_MS = 6_000;

class Toasts {
  items = $state.raw<Toast[]>([]);
  #next = 1;

  say(text: string, kind: Toast["kind"] = "good"): void {
    const id = this.#next++;
    this.items = [...this.items.slice(-2), { id, text, kind }];
    setTimeout(() => this.drop(id), SHOWN_MS);
  }

  drop(id: number): void {
    this.items = this.items.filter((toast) => toast.id !== id);
  }
}

export const toasts = new Toasts();
