// Which things of a list are on the screen: an observer per list, and a set that tells when it changes.

import { SvelteSet } from "svelte/reactivity";

export class Seen {
  ids = new SvelteSet<string>();
  #names = new WeakMap<Element, string>();
  #observer = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        const id = this.#names.get(entry.target);
        if (id === undefined) continue;
        if (entry.isIntersecting) this.ids.add(id);
        else this.ids.delete(id);
      }
    },
    { rootMargin: "120px" },
  );

  /** An action: `use:seen.track={id}`. */
  track = (node: Element, id: string) => {
    this.#names.set(node, id);
    this.#observer.observe(node);
    return {
      destroy: () => {
        this.#observer.unobserve(node);
        this.ids.delete(id);
      },
    };
  };
}
