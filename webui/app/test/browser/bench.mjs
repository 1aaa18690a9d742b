// What an open page costs, and how old a value is when the browser has it, at 1,000 readings a second.
//
//   cargo build --release && cargo build --release -p tidegate-adapters --example plant
//   cd webui/app && npm run bench
//
// A hundred units of ten registers each, once a second, from a simulator in a process of its own, to Debian's mosquitto. Processor time is
// the gateway's own, from /proc, as a share of one core; the browser is chromium on the same machine, with the list of devices on.

import { readFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { browser, check, claim, codeOf, folder, freePort, open, project, start, stopAll, until } from "./harness.mjs";

const SECONDS = Number(process.env.BENCH_SECONDS ?? 20);
const UNITS = 100;
const POINTS = 10;
const TICKS = 100;

const release = (name) => {
  const path = join(project, "target/release", name);
  check(existsSync(path), `${path} is not there: see the head of this file`);
  return path;
};

/** Seconds of processor time that a process has used. */
function spent(child) {
  const fields = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}
async function share(child, during = () => new Promise((done) => setTimeout(done, SECONDS * 1000))) {
  const [began, used] = [Date.now(), spent(child)];
  const told = await during();
  return { percent: (100 * (spent(child) - used)) / ((Date.now() - began) / 1000), told };
}

const site = folder();
const [plant, hub, port] = [await freePort(), await freePort(), await freePort()];
const units = start(release("examples/plant"), [`127.0.0.1:${plant}`, String(UNITS), String(POINTS)]);
await until("the plant", () => /units with/.test(units.said));
site.write("mosquitto.conf", `listener ${hub} 127.0.0.1\nallow_anonymous true\n`);
const mosquitto = start(existsSync("/usr/sbin/mosquitto") ? "/usr/sbin/mosquitto" : "mosquitto", ["-c", join(site.path, "mosquitto.conf")]);
await until("the broker", () => /running/.test(mosquitto.said));
const points = Array.from({ length: POINTS }, (_, at) => `{ name = "p${at}", register = "holding", address = ${at} }`).join(", ");
const devices = Array.from({ length: UNITS }, (_, at) => `[[adapter.device]]\nid = "unit-${at + 1}"\nunit = ${at + 1}\ninterval = "1s"\npoint = [${points}]\n`).join("\n");
site.write(
  "tidegate.toml",
  `config_version = 1\n[gateway]\nid = "gw-01"\nstate_dir = "${site.path}/state"\n[web]\nlisten = "127.0.0.1:${port}"\ntls = false\n[clock]\nwait = "0s"\n[[upstream]]\nname = "cloud"\nkind = "mqtt"\naddress = "127.0.0.1:${hub}"\nclient_id = "gw-01"\n[[adapter]]\nname = "plant"\nkind = "modbus"\ntransport = "tcp"\naddress = "127.0.0.1:${plant}"\n${devices}`,
);
const gateway = start(release("tidegate"), ["run", "--config", site.path]);
const base = `http://127.0.0.1:${port}`;
const code = await codeOf(gateway);
const chrome = await browser();
const { page } = await open(chrome, base);
await claim(page, base, code);
await page.goto("about:blank");
await new Promise((done) => setTimeout(done, 3000));

const without = await share(gateway.child);
/** Looks at the screen until the time is over; how old each device's newest value was when its event came. */
const look = async (path, topics) => {
  await page.goto(base + path);
  await page.locator("main h1").first().waitFor();
  return share(gateway.child, () => page.evaluate(([ms, topics]) => new Promise((told) => {
    if (!topics) return setTimeout(() => told([]), ms);
    const seen = [];
    let first = true;
    const source = new EventSource(`/api/v1/live?topics=${topics}`);
    source.addEventListener("values", (event) => {
      const now = Date.now();
      if (!first) for (const points of Object.values(JSON.parse(event.data))) seen.push(now - Math.max(...Object.values(points).map((one) => one.at)));
      first = false;
    });
    setTimeout(() => { source.close(); told(seen.sort((a, b) => a - b)); }, ms);
  }), [SECONDS * 1000, topics]));
};
const overview = await look("/", "");
const tiles = await look("/devices", "");
const ages = (await look("/devices", "devices")).told;
const round = (value) => Math.round(value * 100) / 100;
console.log(JSON.stringify({
  readings_per_second: UNITS * POINTS,
  gateway_percent_without_page: round(without.percent),
  open_overview_costs_percent: round(overview.percent - without.percent),
  open_devices_cost_percent: round(tiles.percent - without.percent),
  values_seen: ages.length * POINTS,
  age_p50_ms: ages[Math.floor(ages.length / 2)],
  age_p95_ms: ages[Math.floor(ages.length * 0.95)],
  age_max_ms: ages.at(-1),
}, null, 2));
await chrome.close();
site.remove();
await stopAll();
