// One stream of what happens now, for as much as is on the screen.
//
// Screens say which topics they show and take that back when they go; the stream follows, a moment later, by a new connection
// that begins with the present state, so nothing is missed. What comes is put on the screen once per frame, however often it
// came. A page that nobody looks at lets go of the stream after a minute, and takes it up again when it is looked at.

import { SvelteMap } from "svelte/reactivity";
import { here } from "./session.svelte";
import type { Config, Event, Health, Overview, Values } from "./types";
import { Counted, History, type Sample } from "./tally";

const SETTLE_MS = 60;
const HIDDEN_MS = 60_000;
const BACKOFF_MS = [500, 1_000, 2_000, 4_000, 8_000];
const MAX_TOPICS = 64;
const KEPT_EVENTS = 500;

export type Link = "connecting" | "live" | "lost";

class Live {
  link = $state<Link>("connecting");
  overview = $state.raw<Overview | null>(null);
  health = $state.raw<Health[] | null>(null);
  config = $state.raw<Config | null>(null);
  events = $state.raw<Event[]>([]);
  missed = $state(0);
  tide = $state.raw<Sample[]>([]);
  /** The gateway runs another version than the page that is shown. */
  outdated = $state(false);
  values = new SvelteMap<string, Values>();

  #topics = new Counted();
  #asked = "";
  #source: EventSource | null = null;
  #timer = 0;
  #hidden = 0;
  #tries = 0;
  #frame = 0;
  #waiting: Record<string, Values> = {};
  #history = new History();

  constructor() {
    document.addEventListener("visibilitychange", () => this.#looked());
    addEventListener("online", () => this.#again());
  }

  /** Shows `topics` until the answer is called. */
  watch(topics: string[]): () => void {
    for (const topic of topics) this.#topics.add(topic);
    this.#settle();
    return () => {
      for (const topic of topics) this.#topics.drop(topic);
      this.#settle();
    };
  }

  /** After a log-in: the stream was refused before. */
  restart(): void {
    this.#asked = "";
    this.#settle();
  }

  #settle(): void {
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => this.#follow(), SETTLE_MS);
  }

  #follow(): void {
    const topics = this.#topics.names().slice(0, MAX_TOPICS).join(",");
    if (topics === this.#asked && this.#source) return;
    if (!topics || document.hidden && this.#hidden < 0) return this.#close();
    this.#asked = topics;
    this.#open(topics);
  }

  #open(topics: string): void {
    const former = this.#source;
    const source = new EventSource(`/api/v1/live?topics=${encodeURIComponent(topics)}`);
    this.#source = source;
    const on = <T>(name: string, take: (data: T) => void) =>
      source.addEventListener(name, (event) => source === this.#source && take(JSON.parse((event as MessageEvent<string>).data) as T));
    on<{ version: string }>("hello", (hello) => {
      former?.close();
      this.link = "live";
      this.#tries = 0;
      const known = here.info?.version;
      if (known && hello.version !== known) this.outdated = true;
    });
    on<Record<string, Values>>("values", (values) => this.#gather(values));
    on<Overview>("overview", (overview) => {
      this.overview = overview;
      this.tide = this.#history.add(overview);
    });
    on<{ items: Health[] }>("health", (health) => (this.health = health.items));
    on<Config>("config", (config) => (this.config = config));
    on<{ items: Event[]; missed: number }>("events", (came) => {
      const newest = [...came.items].sort((a, b) => b.id - a.id);
      const known = new Set(newest.map((event) => event.id));
      this.events = [...newest, ...this.events.filter((event) => !known.has(event.id))].slice(0, KEPT_EVENTS);
      this.missed += came.missed ?? 0;
    });
    on<{ why: string }>("goodbye", ({ why }) => {
      source.close();
      if (why === "session-ended") here.ended = true;
      this.#retry();
    });
    source.onerror = () => {
      if (source !== this.#source) return;
      former?.close();
      this.link = "lost";
      // The browser tries again by itself after a lost connection, not after a refusal.
      if (source.readyState === EventSource.CLOSED) this.#retry();
    };
  }

  #retry(): void {
    this.link = "lost";
    this.#source?.close();
    this.#source = null;
    const pause = BACKOFF_MS[Math.min(this.#tries, BACKOFF_MS.length - 1)] ?? 8_000;
    this.#tries += 1;
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(async () => {
      try {
        await here.probe();
        if (!here.ended) this.#follow();
      } catch {
        this.#retry();
      }
    }, pause * (0.75 + Math.random() / 2));
  }

  #again(): void {
    this.#tries = 0;
    if (this.link !== "live") this.restart();
  }

  #close(): void {
    this.#source?.close();
    this.#source = null;
    this.#asked = "";
  }

  #looked(): void {
    clearTimeout(this.#hidden);
    if (document.hidden) {
      this.#hidden = window.setTimeout(() => {
        this.#hidden = -1;
        this.#close();
      }, HIDDEN_MS);
    } else if (!this.#source) {
      this.#hidden = 0;
      this.#settle();
    }
  }

  #gather(values: Record<string, Values>): void {
    for (const [device, points] of Object.entries(values)) this.#waiting[device] = { ...this.#waiting[device], ...points };
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      for (const [device, points] of Object.entries(this.#waiting)) {
        this.values.set(device, { ...this.values.get(device), ...points });
      }
      this.#waiting = {};
    });
  }
}

export const live = new Live();
