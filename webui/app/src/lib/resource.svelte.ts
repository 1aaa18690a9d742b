// One thing asked of the gateway: not there yet, there, or refused; what was there stays visible while it is asked again.

import { asProblem, type Problem } from "./api";

export class Resource<T> {
  data = $state.raw<T | null>(null);
  problem = $state.raw<Problem | null>(null);
  busy = $state(false);
  #turn = 0;
  #ask: (signal: AbortSignal) => Promise<T>;
  #abort: AbortController | null = null;

  constructor(ask: (signal: AbortSignal) => Promise<T>) {
    this.#ask = ask;
  }

  /** Asks; an answer that a later question has overtaken is not shown. */
  load = async (): Promise<void> => {
    const turn = (this.#turn += 1);
    this.#abort?.abort();
    const abort = (this.#abort = new AbortController());
    this.busy = true;
    try {
      const data = await this.#ask(abort.signal);
      if (turn === this.#turn) {
        this.data = data;
        this.problem = null;
      }
    } catch (error) {
      if (turn === this.#turn) this.problem = asProblem(error);
    } finally {
      if (turn === this.#turn) this.busy = false;
    }
  };

  stop(): void {
    this.#turn += 1;
    this.#abort?.abort();
  }
}

/** A resource that is asked as soon as the screen shows, and forgotten with it. */
export function resource<T>(ask: (signal: AbortSignal) => Promise<T>): Resource<T> {
  const made = new Resource(ask);
  $effect(() => {
    void made.load();
    return () => made.stop();
  });
  return made;
}
