// The page on the real binary, with a browser that people use, and with peers that are not ours.
//
//   node test/browser/run.mjs [story…]
//
// Screenshots and figures are left in tests/artefacts/page. Ends with 1 if a story does not hold.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { artefacts, browser, stopAll } from "./harness.mjs";
import * as commands from "./commands.mjs";
import * as editing from "./editing.mjs";
import * as find from "./find.mjs";
import * as screens from "./screens.mjs";
import * as setup from "./setup.mjs";

const STORIES = { ...setup.stories, ...screens.stories, ...find.stories, ...commands.stories, ...editing.stories };
const wanted = process.argv.slice(2);
const figures = {};
let failed = 0;
const chrome = await browser();
for (const [name, story] of Object.entries(STORIES)) {
  if (wanted.length && !wanted.some((word) => name.includes(word))) continue;
  const began = Date.now();
  try {
    Object.assign(figures, (await story(chrome)) ?? {});
    console.log(`ok    ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed += 1;
    console.log(`FAILS ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)\n      ${error.stack ?? error}`);
  } finally {
    await Promise.all(chrome.contexts().map((context) => context.close()));
    await stopAll();
  }
}
await chrome.close();
if (Object.keys(figures).length) {
  console.log(JSON.stringify(figures, null, 2));
  if (!wanted.length) writeFileSync(join(artefacts, "figures.json"), `${JSON.stringify(figures, null, 2)}\n`);
}
process.exit(failed ? 1 : 0);
