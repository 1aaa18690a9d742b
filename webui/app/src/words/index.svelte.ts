// What the page says, in the language of the reader. Components hold keys, never text.

import { de } from "./de";
import { en } from "./en";

export type Key = keyof typeof en;
export type Words = Record<Key, string>;
export type Lang = "en" | "de";

const WORDS: Record<Lang, Words> = { en, de };
export const LANGS: { lang: Lang; name: string }[] = [
  { lang: "en", name: "English" },
  { lang: "de", name: "Deutsch" },
];
const KEPT = "tidegate-language";

class Speech {
  lang = $state<Lang>(first());

  constructor() {
    document.documentElement.lang = this.lang;
  }

  /** For numbers and times: the reader's own region, if it speaks the page's language. */
  get locale(): string {
    return navigator.languages.find((tag) => tag.toLowerCase().startsWith(this.lang)) ?? this.lang;
  }

  choose(lang: Lang): void {
    this.lang = lang;
    document.documentElement.lang = lang;
    try {
      localStorage.setItem(KEPT, lang);
    } catch {
      // A browser that keeps nothing speaks its own language next time.
    }
  }
}

function first(): Lang {
  let wanted: readonly string[] = navigator.languages;
  try {
    const kept = localStorage.getItem(KEPT);
    if (kept) wanted = [kept, ...wanted];
  } catch {
    // As above.
  }
  for (const tag of wanted) {
    const lang = tag.slice(0, 2).toLowerCase();
    if (lang in WORDS) return lang as Lang;
  }
  return "en";
}

export const speech = new Speech();

export function t(key: Key, places: Record<string, string | number> = {}): string {
  return fill(WORDS[speech.lang][key], places);
}

/** Words for something the gateway names, such as a health code; `otherwise` is what the gateway said itself. */
export function named(prefix: string, word: string, otherwise: string): string {
  const key = `${prefix}.${word}`;
  return Object.hasOwn(en, key) ? WORDS[speech.lang][key as Key] : otherwise;
}

export function fill(text: string, places: Record<string, string | number>): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => (Object.hasOwn(places, name) ? String(places[name]) : whole));
}
