// A section as TOML, for trying it before it is saved. Comments and order of real files are the gateway's work, not this one's.

import type { Json } from "./types";

type Table = { [key: string]: Json | undefined };

const isTable = (json: Json | undefined): json is Record<string, Json> => typeof json === "object" && json !== null && !Array.isArray(json);

function key(name: string): string {
  return /^[\w-]+$/.test(name) ? name : text(name);
}

/** JSON's escapes are TOML's, but for DEL, which TOML does not take as it is. */
export function text(value: string): string {
  return JSON.stringify(value).replaceAll("\u007f", "\\u007F");
}

function plain(value: Json): string {
  if (typeof value === "string") return text(value);
  if (Array.isArray(value)) return `[${value.map(plain).join(", ")}]`;
  if (isTable(value)) return `{ ${Object.entries(value).map(([name, one]) => `${key(name)} = ${plain(one)}`).join(", ")} }`;
  return String(value);
}

/** `[[path]]` with all that is in it; lists of tables become sections of their own. */
export function section(path: string, table: Table): string {
  const lines = [`[[${path}]]`];
  const after: string[] = [];
  for (const [name, value] of Object.entries(table)) {
    if (value === undefined || value === null || name === "_file") continue;
    if (Array.isArray(value) && value.length > 0 && value.every(isTable)) {
      for (const one of value) after.push(section(`${path}.${key(name)}`, one as Table));
    } else lines.push(`${key(name)} = ${plain(value)}`);
  }
  return [lines.join("\n"), ...after].join("\n\n");
}
