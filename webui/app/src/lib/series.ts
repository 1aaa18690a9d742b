// A trend's series, each with its own times, as the columns that a chart wants: one time axis, nulls where a point was bad,
// and nothing (undefined) where it said nothing, so that lines are broken by bad readings and not by other points' times.

import type { Json, Trend } from "./types";

export type Columns = [number[], ...(number | null | undefined)[][]];

export function columns(trend: Trend, names: string[]): Columns {
  const times = new Set<number>();
  for (const name of names) for (const at of trend.points[name]?.at ?? []) times.add(at);
  for (const gap of trend.gaps) times.add(gap.from);
  const axis = [...times].sort((a, b) => a - b);
  const place = new Map(axis.map((at, index) => [at, index]));
  const lines = names.map((name) => {
    const line: (number | null | undefined)[] = new Array(axis.length).fill(undefined);
    const series = trend.points[name];
    series?.at.forEach((at, index) => {
      line[place.get(at) ?? 0] = numeric(series.last[index] ?? null);
    });
    for (const gap of trend.gaps) line[place.get(gap.from) ?? 0] ??= null;
    return line;
  });
  return [axis.map((at) => at / 1000), ...lines];
}

/** Peaks within each bucket: the largest and the smallest, for the band behind the line. */
export function extremes(trend: Trend, name: string): { at: number[]; min: (number | null)[]; max: (number | null)[] } {
  const series = trend.points[name];
  return { at: series?.at ?? [], min: series?.min ?? [], max: series?.max ?? [] };
}

export function numeric(value: Json): number | null {
  if (typeof value === "number") return Number.isFinite(value) ? value : null;
  if (typeof value === "boolean") return value ? 1 : 0;
  return null;
}
