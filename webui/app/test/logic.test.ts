import { describe, expect, it } from "vitest";
import { characters, decode, matches, point, registers } from "../src/lib/decode";
import { edits, entry, texts } from "../src/lib/edits";
import { points as imported, rows, table } from "../src/lib/csv";
import { crc, frame } from "../src/lib/frame";
import { bytes, grade, reason, shown, span } from "../src/lib/format";
import { blocks, inline } from "../src/lib/markdown";
import { controls, typed, type Schema } from "../src/lib/schema";
import { columns } from "../src/lib/series";
import { Counted, History, level } from "../src/lib/tally";
import { section } from "../src/lib/toml";
import type { Json, Overview, Trend } from "../src/lib/types";

describe("the register explorer", () => {
  const words = registers("00d7 41ac 0000 0000 41ac ffff");

  it("reads registers from the text of an answer, however it is spaced", () => {
    expect(words).toEqual([0x00d7, 0x41ac, 0, 0, 0x41ac, 0xffff]);
    expect(registers("00d")).toEqual([]);
  });
  it("shows the plainest decoding first, and the others after it", () => {
    const found = matches(words, "21.5");
    expect(found[0]).toMatchObject({ offset: 1, type: "f32", order: "abcd", scale: 1, value: 21.5 });
    expect(found).toContainEqual({ offset: 0, type: "u16", order: "abcd", scale: 0.1, value: 215 });
  });
  it("finds a float whose low register comes first", () => {
    expect(matches(words, "21,5")).toContainEqual({ offset: 3, type: "f32", order: "cdab", scale: 1, value: 21.5 });
  });
  it("takes a number as precisely as it is written", () => {
    expect(matches([217], "21.7").map((one) => one.scale)).toContain(0.1);
    expect(matches([217], "21.70").map((one) => one.scale)).toContain(0.1);
    expect(matches([217], "21.74")).toEqual([]);
    expect(matches([217], "boiler")).toEqual([]);
    expect(matches([217], "")).toEqual([]);
  });
  it("does not read beyond the block", () => {
    expect(decode([1], 0).map((one) => one.type)).not.toContain("f32");
    expect(decode([], 0)).toEqual([]);
  });
  it("makes a point that says only what is not usual", () => {
    expect(point({ offset: 2, type: "u16", order: "abcd", value: 215, scale: 0.1 }, "holding", 100)).toEqual({ register: "holding", address: 102, type: "u16", scale: 0.1 });
    expect(point({ offset: 0, type: "f32", order: "cdab", value: 1, scale: 1 }, "input", 0)).toEqual({ register: "input", address: 0, type: "f32", order: "cdab" });
  });
  it("shows what cannot be printed as a dot", () => expect(characters(0x4100)).toBe("A·"));
});

describe("a section as TOML", () => {
  it("nests lists of tables and keeps hostile text as text", () => {
    const made = section("adapter", { _file: "x", name: 'a"b\n[evil]', device: [{ id: "d", properties: { "a b": "c" }, point: [{ name: "p", scale: 0.1, on: true, list: [1, 2] }] }] });
    expect(made).toBe('[[adapter]]\nname = "a\\"b\\n[evil]"\n\n[[adapter.device]]\nid = "d"\nproperties = { "a b" = "c" }\n\n[[adapter.device.point]]\nname = "p"\nscale = 0.1\non = true\nlist = [1, 2]');
  });
  it("leaves out what is not said", () => expect(section("upstream", { name: "x", tls: null, port: undefined })).toBe('[[upstream]]\nname = "x"'));
});

describe("forms from the schema", () => {
  const root: Schema = {
    $defs: {
      Span: { type: "string", description: "a duration", examples: ["500ms"] },
      Order: { oneOf: [{ const: "abcd" }, { enum: ["cdab", "badc"] }] },
      Address: { anyOf: [{ type: "integer" }, { type: "string" }] },
      Bus: {
        type: "object",
        required: ["unit"],
        properties: {
          timeout: { anyOf: [{ $ref: "#/$defs/Span" }, { type: "null" }], description: "how long" },
          order: { $ref: "#/$defs/Order" },
          unit: { type: "integer", minimum: 0, maximum: 255 },
          on: { type: ["boolean", "null"], default: true },
          address: { $ref: "#/$defs/Address" },
          point: { type: "array" },
        },
      },
    },
  };
  const made = controls({ $ref: "#/$defs/Bus" }, root);

  it("follow references, leave null out, put needed keys first, and leave lists to the editor", () => {
    expect(made.map(({ name, kind }) => `${name}:${kind}`)).toEqual(["unit:whole", "timeout:text", "order:choice", "on:flag", "address:text"]);
    expect(made[1]?.hint).toBe("how long");
    expect(made[2]?.choices).toEqual(["abcd", "cdab", "badc"]);
  });
  it("end for a schema that names itself", () => {
    const loop: Schema = { $defs: { A: { $ref: "#/$defs/A" } } };
    expect(controls({ $ref: "#/$defs/A" }, loop)).toEqual([]);
  });
  it("know a number from what only looks like one", () => {
    const unit = made[0]!;
    expect(typed(unit, "7")).toBe(7);
    expect(typed(unit, "7.5")).toBeUndefined();
    expect(typed(unit, "seven")).toBeUndefined();
    expect(typed(unit, " ")).toBeNull();
    expect(typed(made[3]!, "false")).toBe(false);
  });
  it("give only what is different, and take away what was emptied", () => {
    const before = { unit: 7, timeout: "1s", on: true };
    const now = { ...texts(made, before), unit: "8", timeout: "" };
    expect(edits(["adapter", "plant"], made, before, now)).toEqual([
      { at: ["adapter", "plant", "unit"], set: 8 },
      { at: ["adapter", "plant", "timeout"], remove: true },
    ]);
    expect(edits([], made, before, texts(made, before))).toEqual([]);
    expect(entry(made, { unit: "3", address: "0x64" })).toEqual({ unit: 3, address: "0x64" });
  });
});

describe("what people read", () => {
  it("shows values as text and never as markup", () => {
    expect(shown("<img src=x onerror=alert(1)>", "en")).toBe("<img src=x onerror=alert(1)>");
    expect(shown(null, "en")).toBe("–");
    expect(shown(21.5, "de")).toBe("21,5");
    expect(shown(21.5, "en", 2)).toBe("21.50");
    expect(shown({ a: 1 }, "en")).toBe('{"a":1}');
  });
  it("tells durations by their two largest parts", () => {
    expect(span(0)).toBe("0 s");
    expect(span(-5)).toBe("0 s");
    expect(span(3_725)).toBe("1 h 2 min");
    expect(span(86_400)).toBe("1 d");
  });
  it("takes an unknown quality for bad", () => {
    expect(grade("good")).toBe("good");
    expect(grade("uncertain: out-of-range")).toBe("uncertain");
    expect(grade("whatever")).toBe("bad");
    expect(reason("bad: device error: 2")).toBe("device error: 2");
  });
  it("counts in the units that disks are counted in", () => expect(bytes(1_536, "en")).toBe("1.5 KiB"));
});

describe("documents", () => {
  it("become a tree, with markup as text", () => {
    const made = blocks("# A `b`\n\ntext <script>x</script>\nmore\n\n- one\n  two\n- three\n\n| a | b |\n|---|---|\n| `x` | y |\n\n```toml\n# not a heading\n```\n");
    expect(made.map((block) => block.kind)).toEqual(["heading", "paragraph", "list", "table", "code"]);
    expect(made[1]).toEqual({ kind: "paragraph", inline: [{ kind: "text", text: "text <script>x</script> more" }] });
  });
  it("keep the words of links and not where they lead", () => expect(inline("see [the `guide`](javascript:alert(1)) now")[1]).toEqual({ kind: "link", text: "the guide" }));
  it("end whatever they are made of", () => {
    for (const odd of ["|", "||\n|--", "```", "#", "- ", "|a|\n|-|", "\n\n", "`", "**", "[x]("]) expect(Array.isArray(blocks(odd))).toBe(true);
  });
});

describe("the tide", () => {
  const overview = (at: number, waiting: number, up: boolean) => ({ clock: { now: new Date(at).toISOString() }, upstreams: [{ outstanding: waiting, connected: up }], log: { depth: 0 } }) as unknown as Overview;

  it("remembers ten minutes and no more", () => {
    const history = new History();
    for (let at = 0; at < 700; at += 1) history.add(overview(1_764_000_000_000 + at * 1_000, at, at % 2 === 0));
    const kept = history.add(overview(1_764_000_700_000, 5, true));
    expect(kept.length).toBeLessThanOrEqual(601);
    expect(kept.at(-1)).toEqual({ at: 1_764_000_700_000, waiting: 5, up: true });
  });
  it("forgets what lies ahead when the clock is set back", () => {
    const history = new History();
    history.add(overview(1_764_000_000_000, 1, true));
    expect(history.add(overview(1_763_000_000_000, 2, true))).toHaveLength(1);
  });
  it("rises with every decade and stays in its basin", () => {
    expect(level(0)).toBe(0);
    expect(level(-5)).toBe(0);
    expect(level(999) - level(99)).toBeCloseTo(1 / 6, 2);
    expect(level(1e12)).toBe(1);
  });
  it("keeps a topic as long as somebody shows it", () => {
    const topics = new Counted();
    topics.add("b");
    topics.add("a");
    topics.add("a");
    topics.drop("a");
    topics.drop("b");
    topics.drop("never");
    expect(topics.names()).toEqual(["a"]);
  });
});

describe("trends", () => {
  it("put points with different times on one axis, and break the line where a reading was bad or given up", () => {
    const trend = {
      points: {
        a: { unit: null, at: [1_000, 3_000], last: [1, null], min: [], max: [] },
        b: { unit: null, at: [2_000], last: [true], min: [], max: [] },
      },
      gaps: [{ from: 4_000, to: 5_000, count: 3, reason: "room" }],
    } as unknown as Trend;
    expect(columns(trend, ["a", "b", "none"])).toEqual([
      [1, 2, 3, 4],
      [1, undefined, null, null],
      [undefined, 1, undefined, null],
      [undefined, undefined, undefined, null],
    ]);
  });
});

describe("a pasted frame", () => {
  it("is an answer over RTU, over TCP, or bare, however it is spaced", () => {
    const sum = crc([1, 3, 4, 0x41, 0xac, 0, 0]);
    const rtu = [1, 3, 4, 0x41, 0xac, 0, 0, sum & 0xff, sum >> 8].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    expect(frame(rtu)).toEqual({ ok: true, over: "rtu", unit: 1, says: "words", fn: 3, words: [0x41ac, 0] });
    expect(frame("00 01 00 00 00 07 11 04 04 41ac 0000")).toMatchObject({ over: "tcp", unit: 0x11, fn: 4, words: [0x41ac, 0] });
    expect(frame("0x03, 0x02, 0x00, 0xd7")).toMatchObject({ over: "pdu", unit: null, words: [0xd7] });
  });
  it("has the checksum of the specification", () => {
    // A question to unit 1 for input register 1, as the manual of a sensor prints it.
    expect(frame("01 04 00 01 00 01 60 0a")).toEqual({ ok: true, over: "rtu", unit: 1, says: "question", fn: 4, start: 1, count: 1 });
  });
  it("may be a refusal, and what makes no sense is told as what it is", () => {
    const sum = crc([1, 0x83, 2]);
    expect(frame(`0183 02 ${[sum & 0xff, sum >> 8].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`)).toMatchObject({ says: "refusal", fn: 3, code: 2 });
    expect(frame("01 03 04 41 ac 00 00 ff ff")).toEqual({ ok: false, why: "unknown" });
    expect(frame("xyz")).toEqual({ ok: false, why: "hex" });
    expect(frame("0")).toEqual({ ok: false, why: "hex" });
    expect(frame("00".repeat(300))).toEqual({ ok: false, why: "short" });
  });
});

describe("points out of a spreadsheet", () => {
  const of = controls({ type: "object", required: ["name"], properties: { name: { type: "string" }, address: { type: "integer" }, scale: { type: "number" }, unit: { type: "string" } } }, {});
  it("are read whatever the separator, with quotes and line ends as they come", () => {
    expect(rows('a;b\r\n"x;""y""";2\r\n')).toEqual([["a", "b"], ['x;"y"', "2"]]);
    expect(rows("a\tb\n1\t2")).toEqual([["a", "b"], ["1", "2"]]);
    const found = imported("\ufeffName;Address;Scale;Unit\r\nt;1;0,1;°C\r\n\r\np;2;;\r\n", of, []);
    expect(found).toEqual({ points: [{ name: "t", address: 1, scale: 0.1, unit: "°C" }, { name: "p", address: 2 }], wrong: [] });
  });
  it("tell each line that cannot be, and keep the others", () => {
    const found = imported("name,address,colour\nt,1,red\n,2,\nt,3,\nold,4,\nx,5,,,\n", of, ["old"]);
    expect(found.points).toEqual([{ name: "t", address: 1 }]);
    expect(found.wrong.map(({ line, what }) => [line, what])).toEqual([[1, "unknown"], [3, "name"], [4, "twice"], [5, "twice"], [6, "columns"]]);
  });
  it("go the same way back, and no text becomes a formula", () => {
    const list: Record<string, Json>[] = [{ name: "t", address: 1, unit: "a,b" }, { name: "=1+1", address: 2 }];
    expect(table(list, of)).toBe("name,address,unit\r\nt,1,\"a,b\"\r\n'=1+1,2,\r\n");
  });
});
