// A block of registers read every way at once, and the readings that fit a number somebody sees on the device's display.

export type Order = "abcd" | "cdab" | "badc" | "dcba";
export type Decoding = { offset: number; type: string; order: Order | null; value: number };
export type Match = Decoding & { scale: number };

export const ORDERS: Order[] = ["abcd", "cdab", "badc", "dcba"];
const SCALES = [1, 0.1, 0.01, 0.001, 10, 100];
const WIDE: { type: string; registers: number; read: (view: DataView) => number }[] = [
  { type: "u16", registers: 1, read: (view) => view.getUint16(0) },
  { type: "i16", registers: 1, read: (view) => view.getInt16(0) },
  { type: "f32", registers: 2, read: (view) => view.getFloat32(0) },
  { type: "u32", registers: 2, read: (view) => view.getUint32(0) },
  { type: "i32", registers: 2, read: (view) => view.getInt32(0) },
  { type: "f64", registers: 4, read: (view) => view.getFloat64(0) },
  { type: "u64", registers: 4, read: (view) => Number(view.getBigUint64(0)) },
  { type: "i64", registers: 4, read: (view) => Number(view.getBigInt64(0)) },
];

/** Registers out of the hexadecimal text of an answer; what is no pair of digits is left out. */
export function registers(hex: string): number[] {
  const digits = hex.replace(/[^0-9a-fA-F]/g, "");
  const words: number[] = [];
  for (let at = 0; at + 4 <= digits.length; at += 4) words.push(parseInt(digits.slice(at, at + 4), 16));
  return words;
}

/** The bytes in the order that the processor expects, most significant first. */
function arranged(words: number[], order: Order): DataView {
  const swapped = order === "badc" || order === "dcba";
  const turned = order === "cdab" || order === "dcba";
  const inOrder = turned ? [...words].reverse() : words;
  const view = new DataView(new ArrayBuffer(words.length * 2));
  inOrder.forEach((word, at) => view.setUint16(at * 2, swapped ? ((word & 0xff) << 8) | (word >> 8) : word));
  return view;
}

function bcd(word: number): number | null {
  const digits = word.toString(16);
  return /^\d+$/.test(digits) ? Number(digits) : null;
}

export function decode(words: number[], offset: number): Decoding[] {
  const made: Decoding[] = [];
  for (const { type, registers, read } of WIDE) {
    const own = words.slice(offset, offset + registers);
    if (own.length < registers) continue;
    // One register has two orders that differ, more have four.
    for (const order of registers === 1 ? (["abcd", "badc"] as const) : ORDERS) {
      made.push({ offset, type, order, value: read(arranged(own, order)) });
    }
  }
  const decimal = bcd(words[offset] ?? NaN);
  if (decimal !== null) made.push({ offset, type: "bcd16", order: null, value: decimal });
  return made;
}

/** The readings that show `wanted` when rounded as it is written, the plainest first. */
export function matches(words: number[], wanted: string): Match[] {
  const text = wanted.trim().replace(",", ".");
  const number = Number(text);
  if (text === "" || !Number.isFinite(number)) return [];
  const decimals = text.includes(".") ? text.length - text.indexOf(".") - 1 : 0;
  const slack = 0.5000001 * 10 ** -decimals;
  const found: (Match & { rank: number })[] = [];
  words.forEach((_, offset) => {
    for (const one of decode(words, offset)) {
      if (!Number.isFinite(one.value)) continue;
      for (const scale of SCALES) {
        // A scaled float is hardly ever meant, and zero fits every scale.
        if (scale !== 1 && (one.type.startsWith("f") || one.value === 0)) continue;
        if (Math.abs(one.value * scale - number) > slack) continue;
        const rank = SCALES.indexOf(scale) * 10 + (one.order === null ? 3 : ORDERS.indexOf(one.order)) * 8 + WIDE.findIndex(({ type }) => type === one.type) + Math.abs(one.value * scale - number) / slack;
        found.push({ ...one, scale, rank });
        break;
      }
    }
  });
  return found.sort((a, b) => a.rank - b.rank || a.offset - b.offset).map(({ rank: _, ...match }) => match);
}

/** Two characters for each register; what cannot be printed is a dot. */
export function characters(word: number): string {
  return [word >> 8, word & 0xff].map((code) => (code >= 32 && code < 127 ? String.fromCharCode(code) : "·")).join("");
}

/** The point that a reading would be. */
export function point(match: Match, table: string, start: number): Record<string, string | number> {
  return {
    register: table,
    address: start + match.offset,
    type: match.type,
    ...(match.order && match.order !== "abcd" ? { order: match.order } : {}),
    ...(match.scale === 1 ? {} : { scale: match.scale }),
  };
}
