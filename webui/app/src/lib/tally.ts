// Small sums that the live store is made of; nothing here knows the browser.

import type { Overview } from "./types";

/** Topics with the number of places that show them. */
export class Counted {
  #counts = new Map<string, number>();

  add(name: string): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }

  drop(name: string): void {
    const left = (this.#counts.get(name) ?? 0) - 1;
    if (left > 0) this.#counts.set(name, left);
    else this.#counts.delete(name);
  }

  /** In an order of their own, so that the same topics are the same text. */
  names(): string[] {
    return [...this.#counts.keys()].sort();
  }
}

export type Sample = { at: number; waiting: number; up: boolean };

/** The tide as this page has seen it: ten minutes, a sample a second. */
export class History {
  #samples: Sample[] = [];
  static readonly KEPT_MS = 600_000;

  add(overview: Overview): Sample[] {
    const at = Date.parse(overview.clock.now) || Date.now();
    const waiting = overview.upstreams.length ? Math.max(...overview.upstreams.map((up) => up.outstanding)) : overview.log.depth;
    const up = overview.upstreams.some((upstream) => upstream.connected);
    const kept = this.#samples.filter((sample) => sample.at > at - History.KEPT_MS && sample.at < at);
    this.#samples = [...kept, { at, waiting, up }];
    return this.#samples;
  }
}

/** How high water stands for `count` messages: from 0 to 1 over six decades, because a tide of ten and one of a million both matter. */
export function level(count: number): number {
  return Math.min(1, Math.log10(1 + Math.max(0, count)) / 6);
}
