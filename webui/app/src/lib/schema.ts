// What a form needs of a JSON Schema: for each key a kind of control, its limits, and the words beside it.

import type { Json } from "./types";

export type Schema = { [key: string]: Json };
export type Control = {
  name: string;
  kind: "text" | "number" | "whole" | "flag" | "choice";
  hint: string;
  choices: string[];
  least: number | null;
  most: number | null;
  needed: boolean;
  example: string;
  fallback: Json;
};

const isObject = (json: Json | undefined): json is Schema => typeof json === "object" && json !== null && !Array.isArray(json);

/** The schema that is meant: references followed, "or null" left out. */
export function resolved(schema: Json | undefined, root: Schema, depth = 0): Schema {
  if (!isObject(schema) || depth > 8) return {};
  const reference = schema["$ref"];
  if (typeof reference === "string" && reference.startsWith("#/")) {
    let at: Json | undefined = root;
    for (const step of reference.slice(2).split("/")) at = isObject(at) ? at[step.replaceAll("~1", "/").replaceAll("~0", "~")] : undefined;
    const { $ref: _, ...own } = schema;
    return { ...resolved(at, root, depth + 1), ...own };
  }
  for (const key of ["anyOf", "oneOf", "allOf"]) {
    const several = schema[key];
    if (!Array.isArray(several)) continue;
    const real = several.filter((one) => !(isObject(one) && one["type"] === "null"));
    if (real.length === 1 || key === "allOf") {
      const { [key]: _, ...own } = schema;
      return { ...Object.assign({}, ...real.map((one) => resolved(one, root, depth + 1))), ...own };
    }
  }
  return schema;
}

function choicesOf(schema: Schema, root: Schema): string[] {
  if (Array.isArray(schema["enum"])) return schema["enum"].filter((one): one is string => typeof one === "string");
  if (typeof schema["const"] === "string") return [schema["const"]];
  const several = schema["oneOf"] ?? schema["anyOf"];
  if (!Array.isArray(several)) return [];
  const found = several.map((one) => choicesOf(resolved(one, root), root));
  return found.every((one) => one.length > 0) ? found.flat() : [];
}

function typesOf(schema: Schema): string[] {
  const type = schema["type"];
  return (Array.isArray(type) ? type : [type]).filter((one): one is string => typeof one === "string" && one !== "null");
}

/** The keys of an object that a plain control can hold; lists and tables are for the editor of files. */
export function controls(schema: Json | undefined, root: Schema): Control[] {
  const object = resolved(schema, root);
  const properties = object["properties"];
  const required = Array.isArray(object["required"]) ? object["required"] : [];
  if (!isObject(properties)) return [];
  const all = Object.entries(properties).flatMap(([name, raw]): Control[] => {
    const one = resolved(raw, root);
    const types = typesOf(one);
    const choices = choicesOf(one, root);
    const kind = choices.length ? "choice" : types.includes("boolean") ? "flag" : types.includes("integer") && !types.includes("string") ? "whole" : types.includes("number") ? "number" : types.includes("string") || untagged(one, root) ? "text" : null;
    if (!kind) return [];
    const limit = (key: string) => (typeof one[key] === "number" ? one[key] : null);
    const examples = isObject(raw) ? raw["examples"] : null;
    return [{
      name,
      kind,
      hint: typeof one["description"] === "string" ? one["description"] : "",
      choices,
      least: limit("minimum"),
      most: limit("maximum"),
      needed: required.includes(name),
      example: Array.isArray(examples) ? String(examples[0] ?? "") : "",
      fallback: one["default"] ?? null,
    }];
  });
  // What must be said comes first; a schema sorts by the alphabet.
  return all.sort((a, b) => Number(b.needed) - Number(a.needed));
}

/** A number or a text, such as an address in decimal or hexadecimal. */
function untagged(schema: Schema, root: Schema): boolean {
  const several = schema["anyOf"] ?? schema["oneOf"];
  return Array.isArray(several) && several.every((one) => ["string", "integer", "number"].includes(typesOf(resolved(one, root))[0] ?? ""));
}

/** What was typed, as the file will have it; null takes the key away, undefined is no such value. */
export function typed(control: Control, text: string): Json | undefined {
  const value = text.trim();
  if (value === "") return null;
  if (control.kind === "flag") return value === "true";
  if (control.kind === "whole" || control.kind === "number") {
    const number = Number(value.replace(",", "."));
    if (!Number.isFinite(number) || (control.kind === "whole" && !Number.isInteger(number))) return undefined;
    return number;
  }
  if (control.kind === "text" && control.name === "address" && /^\d+$/.test(value)) return Number(value);
  return value;
}
