// Takes the pictures that the README shows over from what the stories left in tests/artefacts/page.

import { copyFileSync, mkdirSync } from "node:fs";

const PICTURES = { "picture-tide": "tide", "picture-trend": "trend", "picture-upstream": "upstream", "picture-find": "find", "picture-search": "search", "picture-models": "models" };
mkdirSync("../pictures", { recursive: true });
for (const [made, name] of Object.entries(PICTURES)) copyFileSync(`../../tests/artefacts/page/${made}.png`, `../pictures/${name}.png`);
