import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { de } from "../src/words/de";
import { en } from "../src/words/en";

const places = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort();
const files = (folder: string): string[] => readdirSync(folder, { withFileTypes: true }).flatMap((one) => (one.isDirectory() ? files(join(folder, one.name)) : [join(folder, one.name)]));
const sources = files("src").filter((file) => /\.(svelte|ts)$/.test(file) && !/words\/(en|de)\.ts$/.test(file));

it("every sentence has the same places in every language", () => {
  for (const [key, text] of Object.entries(en)) expect(places(de[key as keyof typeof en]), key).toEqual(places(text));
});
it("no sentence is empty", () => {
  for (const [key, text] of [...Object.entries(en), ...Object.entries(de)]) expect(text.trim(), key).not.toBe("");
});
it("no component makes HTML of text, or carries a style that the policy would refuse", () => {
  for (const file of sources) {
    const text = readFileSync(file, "utf8");
    expect(text.includes("{@html"), file).toBe(false);
    expect(/\sstyle="(?!\{)/.test(text), file).toBe(false);
    expect(/\.innerHTML|\beval\(|new Function/.test(text), file).toBe(false);
    expect(/https?:\/\//.test(text.replaceAll("http://www.w3.org/2000/svg", "")), file).toBe(false);
  }
});
it("no source is longer than somebody would read", () => {
  for (const file of sources) expect(readFileSync(file, "utf8").split("\n").length, file).toBeLessThanOrEqual(450);
});
