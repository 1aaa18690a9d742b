// Numbers, times and sizes as people read them, in the language of the page.

import type { Json, Latest } from "./types";

export function number(value: number, lang: string, digits?: number): string {
  if (!Number.isFinite(value)) return "–";
  const options = digits === undefined ? { maximumSignificantDigits: 7 } : { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return new Intl.NumberFormat(lang, options).format(value);
}

export function count(value: number, lang: string): string {
  return new Intl.NumberFormat(lang, { maximumFractionDigits: 0 }).format(value);
}

export function rate(value: number, lang: string): string {
  return new Intl.NumberFormat(lang, { maximumFractionDigits: value < 10 ? 1 : 0 }).format(value);
}

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(value: number, lang: string): string {
  let size = value;
  let unit = 0;
  while (size >= 1024 && unit < SIZES.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${new Intl.NumberFormat(lang, { maximumFractionDigits: size < 10 && unit > 0 ? 1 : 0 }).format(size)} ${SIZES[unit]}`;
}

/** The two largest parts: "2 d 4 h", "3 min 20 s". */
export function span(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const parts: [number, string][] = [
    [Math.floor(whole / 86_400), "d"],
    [Math.floor(whole / 3_600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"],
    [whole % 60, "s"],
  ];
  const first = parts.findIndex(([amount]) => amount > 0);
  if (first < 0) return "0 s";
  return parts
    .slice(first, first + 2)
    .filter(([amount]) => amount > 0)
    .map(([amount, unit]) => `${amount} ${unit}`)
    .join(" ");
}

export function time(at: string | number, lang: string): string {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return "–";
  const today = new Date().toDateString() === date.toDateString();
  return new Intl.DateTimeFormat(lang, today ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "medium" }).format(date);
}

/** `good`, `uncertain` or `bad`: the first word of a quality. */
export function grade(quality: string): "good" | "uncertain" | "bad" {
  const word = quality.split(":", 1)[0]?.trim();
  return word === "good" || word === "uncertain" ? word : "bad";
}

/** What follows the first word, if anything does. */
export function reason(quality: string): string {
  const colon = quality.indexOf(":");
  return colon < 0 ? "" : quality.slice(colon + 1).trim();
}

/** A value as text; what is no number or text is shown as JSON, and never as markup. */
export function shown(value: Json, lang: string, precision?: number | null): string {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return number(value, lang, precision ?? undefined);
  if (typeof value === "boolean" || typeof value === "string") return String(value);
  return JSON.stringify(value);
}

export function isStale(latest: Latest, now: number, after_ms = 120_000): boolean {
  return now - latest.at > after_ms;
}
