// Points out of a table, as a manual's list of registers is kept in a spreadsheet.

import { entry } from "./edits";
import type { Control } from "./schema";
import type { Json } from "./types";

export type Imported = { points: { [key: string]: Json }[]; wrong: { line: number; what: "columns" | "name" | "twice" | "unknown"; word: string }[] };

/** As many as one change takes. */
export const MOST = 200;

/** Rows of cells; quotes as in RFC 4180, the separator is whichever the first line has most of. */
export function rows(text: string): string[][] {
  const first = text.split(/\r?\n/, 1)[0] ?? "";
  const separator = [",", ";", "\t"].sort((a, b) => first.split(b).length - first.split(a).length)[0] ?? ",";
  const all: string[][] = [];
  let row: string[] = [];
  let cell = "";
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const c = text[at]!;
    if (quoted) {
      if (c !== '"') cell += c;
      else if (text[at + 1] === '"') { cell += c; at += 1; }
      else quoted = false;
    } else if (c === '"' && cell === "") quoted = true;
    else if (c === separator) { row.push(cell); cell = ""; }
    else if (c === "\n" || c === "\r") {
      if (c === "\r" && text[at + 1] === "\n") at += 1;
      all.push([...row, cell]);
      row = [];
      cell = "";
    } else cell += c;
  }
  if (cell !== "" || row.length) all.push([...row, cell]);
  return all;
}

/** The first line names the keys; each other one is a point. What cannot be is told by its line and left out. */
export function points(text: string, controls: Control[], taken: string[]): Imported {
  const [head = [], ...lines] = rows(text.replace(/^\ufeff/, ""));
  const keys = head.map((one) => one.trim().toLowerCase());
  const found: Imported = { points: [], wrong: [] };
  for (const key of keys) if (key && !controls.some(({ name }) => name === key)) found.wrong.push({ line: 1, what: "unknown", word: key });
  const names = new Set(taken);
  lines.forEach((cells, index) => {
    const line = index + 2;
    if (cells.every((cell) => cell.trim() === "")) return;
    if (cells.length > keys.length) return void found.wrong.push({ line, what: "columns", word: String(cells.length) });
    const point = entry(controls, Object.fromEntries(keys.map((key, at) => [key, cells[at] ?? ""])));
    const name = point["name"];
    if (typeof name !== "string" || name === "") return void found.wrong.push({ line, what: "name", word: "" });
    if (names.has(name)) return void found.wrong.push({ line, what: "twice", word: name });
    names.add(name);
    found.points.push(point);
  });
  return found;
}

function cell(value: Json | undefined): string {
  if (value === undefined || value === null) return "";
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  // A spreadsheet takes no text for a formula.
  const safe = typeof value === "string" && /^[=+@-]/.test(text) ? `'${text}` : text;
  return /[",;\n\r\t]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** The same way back. */
export function table(points: { [key: string]: Json }[], controls: Control[]): string {
  const keys = controls.map(({ name }) => name).filter((key) => points.some((point) => point[key] !== undefined));
  return [keys.join(","), ...points.map((point) => keys.map((key) => cell(point[key])).join(","))].join("\r\n") + "\r\n";
}
