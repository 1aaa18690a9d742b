// Whether the built page that is kept is what the sources build, byte for byte: a binary built without Node has the whole page.
//
//   node test/same.mjs            says what differs and ends with 1
//
// A page that differs is made right by `npm run build`, committed with the sources.

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { build } from "vite";

const files = (folder, base = folder) =>
  readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? files(path, base) : [relative(base, path)];
  });

const fresh = mkdtempSync(join(tmpdir(), "tidegate-dist-"));
await build({ logLevel: "warn", build: { outDir: fresh, emptyOutDir: true } });
const [kept, made] = [files("dist"), files(fresh)];
const wrong = [
  ...made.filter((file) => !kept.includes(file)).map((file) => `${file} is not kept`),
  ...kept.filter((file) => !made.includes(file)).map((file) => `${file} is kept and not built any more`),
  ...made.filter((file) => kept.includes(file) && !readFileSync(join("dist", file)).equals(readFileSync(join(fresh, file)))).map((file) => `${file} differs`),
];
rmSync(fresh, { recursive: true });
if (wrong.length) {
  console.error(`webui/app/dist is not what its sources build; run npm run build and commit it:\n  ${wrong.join("\n  ")}`);
  process.exit(1);
}
