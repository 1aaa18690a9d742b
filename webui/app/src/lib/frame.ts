// A Modbus frame as somebody pasted it: from a log, an analyser, the Frames screen.

import { registers } from "./decode";

export type Frame =
  | { ok: true; over: "tcp" | "rtu" | "pdu"; unit: number | null; says: "words"; fn: number; words: number[] }
  | { ok: true; over: "tcp" | "rtu" | "pdu"; unit: number | null; says: "question"; fn: number; start: number; count: number }
  | { ok: true; over: "tcp" | "rtu" | "pdu"; unit: number | null; says: "refusal"; fn: number; code: number }
  | { ok: false; why: "hex" | "short" | "unknown" };

/** Longest frame: MBAP's seven bytes and the longest PDU. */
const MOST = 260;

/** CRC-16 as Modbus sends it, low byte first (Modbus over serial line V1.02, 6.2.2). */
export function crc(bytes: number[]): number {
  let sum = 0xffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit += 1) sum = sum & 1 ? (sum >> 1) ^ 0xa001 : sum >> 1;
  }
  return sum;
}

function pdu(over: "tcp" | "rtu" | "pdu", unit: number | null, bytes: number[]): Frame {
  const [fn = 0, second = 0] = bytes;
  if (fn >= 0x80 && bytes.length === 2) return { ok: true, over, unit, says: "refusal", fn: fn - 0x80, code: second };
  if ((fn === 3 || fn === 4) && bytes.length === 2 + second && second % 2 === 0 && second > 0) {
    const hex = bytes.slice(2).map((byte) => byte.toString(16).padStart(2, "0")).join("");
    return { ok: true, over, unit, says: "words", fn, words: registers(hex) };
  }
  if (fn >= 1 && fn <= 4 && bytes.length === 5) return { ok: true, over, unit, says: "question", fn, start: (bytes[1]! << 8) | bytes[2]!, count: (bytes[3]! << 8) | bytes[4]! };
  return { ok: false, why: "unknown" };
}

/** What was pasted: bytes in hexadecimal, with whatever between them. */
export function frame(text: string): Frame {
  const bare = text.replace(/0x/gi, "").replace(/[\s,:;_-]/g, "");
  if (!/^[\da-f]*$/i.test(bare) || bare.length % 2 === 1) return { ok: false, why: "hex" };
  const bytes = (bare.match(/../g) ?? []).map((pair) => parseInt(pair, 16));
  if (bytes.length < 2 || bytes.length > MOST) return { ok: false, why: "short" };
  const length = ((bytes[4] ?? 0) << 8) | (bytes[5] ?? 0);
  if (bytes.length > 8 && bytes[2] === 0 && bytes[3] === 0 && length === bytes.length - 6) return pdu("tcp", bytes[6] ?? 0, bytes.slice(7));
  if (bytes.length >= 5 && crc(bytes.slice(0, -2)) === (bytes.at(-2)! | (bytes.at(-1)! << 8))) return pdu("rtu", bytes[0] ?? 0, bytes.slice(1, -2));
  return pdu("pdu", null, bytes);
}
