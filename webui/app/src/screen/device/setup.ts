// Where a device stands in the configuration, with the schema of its parts.

import { get } from "../../lib/api";
import { controls, resolved, type Control, type Schema } from "../../lib/schema";
import type { Json, Section, Sections } from "../../lib/types";

export type Table = { [key: string]: Json };
export type Place = { etag: string; adapter: Section; device: Table | null; bus: Control[]; unit: Control[]; point: Control[] };

function items(schema: Json | undefined, root: Schema): Json | undefined {
  return resolved(schema, root)["items"];
}

export async function place(adapterName: string, id: string, signal?: AbortSignal): Promise<Place | null> {
  const [sections, schema] = await Promise.all([get<Sections>("/config/sections", signal ? { signal } : {}), get<Schema>("/config/schema", signal ? { signal } : {})]);
  const adapter = sections.adapter.find((one) => one.name === adapterName);
  if (!adapter) return null;
  return { etag: sections.etag, adapter, device: (adapter.device?.find((one) => one.id === id) as Table | undefined) ?? null, ...forms(schema, adapter.kind) };
}

export function forms(schema: Schema, kind: string): { bus: Control[]; unit: Control[]; point: Control[] } {
  const bus = resolved({ $ref: `#/$defs/adapter-${kind}` }, schema);
  const unit = resolved(items((bus["properties"] as Schema | undefined)?.["device"], schema), schema);
  const point = resolved(items((unit["properties"] as Schema | undefined)?.["point"], schema), schema);
  return { bus: controls(bus, schema).filter(({ name }) => name !== "kind"), unit: controls(unit, schema), point: controls(point, schema) };
}
