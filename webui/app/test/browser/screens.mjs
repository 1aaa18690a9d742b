// Every screen on a desktop and on a phone, in light and in dark, in both languages; how fast it is there; how fresh it is.

import { gzipSync } from "node:zlib";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { accessible, binary, check, claim, codeOf, fits, freePort, login, open, picture, project, shot, start, until } from "./harness.mjs";

const SIZES = [{ width: 1280, height: 860 }, { width: 390, height: 800 }];
const SCREENS = {
  overview: "/", devices: "/devices", "devices-table": "/devices?view=table", device: "/devices/boiler-1", trend: "/devices/boiler-1/trend", frames: "/devices/boiler-1/frames",
  commands: "/devices/boiler-1/commands", inbox: "/inbox", writes: "/inbox/writes", hub: "/hub", "hub-events": "/hub/events", consumers: "/hub/consumers",
  points: "/devices/boiler-1/points", settings: "/devices/boiler-1/settings", docs: "/devices/boiler-1/docs", upstreams: "/upstreams", "upstream-new": "/upstreams/new",
  log: "/log", messages: "/log/messages", gaps: "/log/gaps", find: "/find", registers: "/find/registers", models: "/find/templates", events: "/events", config: "/config", history: "/config/history", system: "/system",
  checks: "/system/checks", users: "/system/users", tokens: "/system/tokens", audit: "/system/audit", keep: "/system/keep", "setup-facts": "/setup", "setup-device": "/setup?step=device", missing: "/no/such/screen",
};

export async function demo(chrome, options) {
  const port = await freePort();
  const base = `http://127.0.0.1:${port}`;
  const began = Date.now();
  const gateway = start(binary, ["demo", "--page", `127.0.0.1:${port}`]);
  const code = await codeOf(gateway);
  const { context, page } = await open(chrome, base, options);
  await claim(page, base, code);
  return { gateway, base, context, page, began };
}

/** What is shown is there and no longer loading. */
async function settled(page) {
  await page.locator("main h1").first().waitFor();
  await until("the screen to be loaded", async () => (await page.locator("main .loading").count()) === 0);
}

const files = (folder) => readdirSync(folder).flatMap((name) => (statSync(join(folder, name)).isDirectory() ? files(join(folder, name)) : [join(folder, name)]));

export const stories = {
  "a fresh demo shows a live value within ten seconds, quickly and with few requests": async (chrome) => {
    const { page, base, context, began } = await demo(chrome);
    await page.goto(`${base}/devices/boiler-1`);
    await page.locator("main li .value").first().waitFor();
    await until("a value", async () => /\d/.test(await page.locator("main li .value").nth(1).innerText()));
    const to_live = (Date.now() - began) / 1000;
    check(to_live < 10, `it took ${to_live} s`);

    const fresh = await open(chrome, base, { storageState: await context.storageState() });
    await fresh.page.goto(base);
    await fresh.page.locator('[data-figure="waiting"]').waitFor();
    const measured = await fresh.page.evaluate(() => {
      const all = [...performance.getEntriesByType("resource"), ...performance.getEntriesByType("navigation")].filter((one) => !one.name.includes("/live"));
      const paint = performance.getEntriesByName("first-contentful-paint")[0];
      return { first_paint_ms: Math.round(paint?.startTime ?? -1), interactive_ms: Math.round(performance.now()), requests: all.length, transfer_kb: Math.round(all.reduce((sum, one) => sum + one.transferSize, 0) / 100) / 10 };
    });
    check(measured.first_paint_ms >= 0 && measured.first_paint_ms < 1_000, `first paint after ${measured.first_paint_ms} ms`);

    // How old a value is when the browser has it, at the demo's pace.
    const ages = await fresh.page.evaluate(() => new Promise((told) => {
      const seen = [];
      const source = new EventSource("/api/v1/live?topics=devices");
      let first = true;
      source.addEventListener("values", (event) => {
        const now = Date.now();
        // The first event is the state of before.
        if (!first) for (const points of Object.values(JSON.parse(event.data))) seen.push(now - Math.max(...Object.values(points).map((one) => one.at)));
        first = false;
      });
      setTimeout(() => { source.close(); told(seen.sort((a, b) => a - b)); }, 5_000);
    }));
    check(ages.length > 20, `only ${ages.length} values came`);
    const dist = files(join(project, "webui/app/dist")).map((file) => { const bytes = readFileSync(file); return file.endsWith(".woff2") ? bytes.length : gzipSync(bytes, { level: 9 }).length; });
    const whole = dist.reduce((sum, one) => sum + one, 0);
    check(whole <= 250_000, `the page is ${whole} bytes compressed`);
    check(fresh.page.faults.length === 0, fresh.page.faults.join("\n"));
    return { demo_to_live_value_s: Math.round(to_live * 10) / 10, ...measured, whole_page_kb: Math.round(whole / 100) / 10, value_age_p50_ms: ages[Math.floor(ages.length / 2)], value_age_p95_ms: ages[Math.floor(ages.length * 0.95)] };
  },

  "every screen holds on desktop and phone, light and dark, and is clean for axe": async (chrome) => {
    const { base, context } = await demo(chrome);
    const storageState = await context.storageState();
    const wrong = [];
    for (const viewport of SIZES) for (const colorScheme of ["light", "dark"]) {
      const { page } = await open(chrome, base, { viewport, colorScheme, storageState });
      for (const [name, path] of Object.entries(SCREENS)) {
        const full = `${name}-${viewport.width}-${colorScheme}`;
        try {
          await page.goto(base + path);
          if (name === "missing") await page.getByText("There is no screen").waitFor();
          else await settled(page);
          if (name === "frames") {
            await page.getByRole("button", { name: "Read now" }).click();
            await page.getByText("holding registers").first().waitFor();
          }
          await shot(page, full);
          await fits(page, full);
          await accessible(page, full);
        } catch (error) {
          wrong.push(`${full}: ${error.message}`);
        }
      }
      wrong.push(...page.faults);
      await page.context().close();
    }
    const narrow = await open(chrome, base, { viewport: { width: 360, height: 740 }, storageState, locale: "de-DE" });
    for (const [name, path] of Object.entries(SCREENS)) {
      if (name === "missing") continue;
      await narrow.page.goto(base + path);
      await settled(narrow.page);
      await fits(narrow.page, `${name} in German at 360`).catch((error) => wrong.push(error.message));
    }
    check((await narrow.page.evaluate(() => document.documentElement.lang)) === "de", "the page does not speak German to a German browser");
    await shot(narrow.page, "german-360-light");
    check(wrong.length === 0, wrong.join("\n      "));
  },

  "the switch cuts the link, the tide rises, and it runs out again": async (chrome) => {
    const { base, page } = await demo(chrome);
    await page.goto(base);
    const waiting = async () => Number((await page.locator('[data-figure="waiting"]').innerText()).replace(/\D/g, ""));
    await page.locator('[data-figure="waiting"]').waitFor();
    // The demo cuts the link by itself now and then, until somebody uses the switch: only our own cut counts.
    let ours = false;
    page.on("request", (request) => (ours ||= request.url().endsWith("/demo/link") && request.postDataJSON()?.up === false));
    await until("the link to be cut by us", async () => {
      const cut = page.getByRole("button", { name: "Cut the link" });
      // It may become the other button between the look and the click.
      if (!ours && (await cut.isVisible())) await cut.click({ timeout: 1_000 }).catch(() => {});
      return ours && (await page.getByText("Held back").count()) > 0;
    });
    await until("the tide to rise", async () => (await waiting()) > 200);
    await picture(page, "tide");
    await shot(page, "overview-held-1280-light");
    await page.emulateMedia({ colorScheme: "dark" });
    await shot(page, "overview-held-1280-dark");
    await page.goto(`${base}/devices/boiler-1/trend`);
    await page.locator(".u-over").waitFor();
    await picture(page, "trend");
    await page.emulateMedia({ colorScheme: "light" });
    await page.goto(base);
    await page.getByRole("button", { name: "Restore the link" }).click();
    await until("the tide to run out", async () => (await waiting()) < 40);
    check(page.faults.length === 0, page.faults.join("\n"));
  },

  "nobody is shown anything without logging in, and a wrong password keeps what was typed": async (chrome) => {
    const { base } = await demo(chrome);
    const { page } = await open(chrome, base);
    page.expected.push("401");
    await page.goto(`${base}/config`);
    await page.getByRole("heading", { name: "Log in" }).waitFor();
    await accessible(page, "login");
    await shot(page, "login-1280-light");
    await page.getByLabel("Name", { exact: true }).fill("ada");
    await page.getByLabel("Password", { exact: true }).fill("wrong and long");
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("alert").getByText("Name or password is wrong").waitFor();
    check((await page.getByLabel("Name", { exact: true }).inputValue()) === "ada", "the name that was typed is gone");
    await login(page);
    await page.getByRole("heading", { name: "Configuration" }).waitFor();
    check(page.faults.length === 0, page.faults.join("\n"));
  },
};
