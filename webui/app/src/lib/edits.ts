// From what a form says now and what the file said to the edits between them.

import { typed, type Control } from "./schema";
import type { Edit, Json } from "./types";

export function texts(controls: Control[], table: { [key: string]: Json | undefined }): Record<string, string> {
  return Object.fromEntries(controls.map(({ name }) => [name, table[name] === undefined || table[name] === null ? "" : String(table[name])]));
}

export function edits(at: (string | number)[], controls: Control[], before: { [key: string]: Json | undefined }, now: Record<string, string>): Edit[] {
  return controls.flatMap((control): Edit[] => {
    const was = before[control.name] ?? null;
    const is = typed(control, now[control.name] ?? "");
    if (is === undefined || is === was || (is !== null && String(is) === String(was) && typeof is === typeof was)) return [];
    return is === null ? [{ at: [...at, control.name], remove: true }] : [{ at: [...at, control.name], set: is }];
  });
}

/** An entry that does not exist yet: only what was said. */
export function entry(controls: Control[], now: Record<string, string>): { [key: string]: Json } {
  const made: { [key: string]: Json } = {};
  for (const control of controls) {
    const value = typed(control, now[control.name] ?? "");
    if (value !== null && value !== undefined) made[control.name] = value;
  }
  return made;
}
