// What the stories share: the gateway and its peers as processes of their own, a browser, and checks that hold on every screen.

import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const project = resolve(dirname(fileURLToPath(import.meta.url)), "../../../..");
export const artefacts = join(project, "tests/artefacts/page");
export const binary = process.env.TIDEGATE ?? join(project, "target/debug/tidegate");
const axe = readFileSync(join(project, "webui/app/node_modules/axe-core/axe.min.js"), "utf8");
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const PATIENCE_MS = 30_000;

mkdirSync(artefacts, { recursive: true });

export function check(holds, what) {
  if (!holds) throw new Error(what);
}

export async function until(what, test, patience = PATIENCE_MS) {
  const end = Date.now() + patience;
  let last;
  while (Date.now() < end) {
    try {
      const value = await test();
      if (value) return value;
    } catch (error) {
      last = error;
    }
    await new Promise((go) => setTimeout(go, 50));
  }
  throw new Error(`waited ${patience} ms for ${what}${last ? `: ${last.message}` : ""}`);
}

export function freePort() {
  return new Promise((found, failed) => {
    const server = createServer().once("error", failed);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => found(port));
    });
  });
}

const running = new Set();

/** A process whose output is kept; ended with the stories. */
export function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"], ...options });
  const process = { child, said: "", ended: false };
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (process.said += data));
  child.on("error", (error) => (process.said += `\n${command}: ${error.message}`));
  child.on("exit", () => {
    process.ended = true;
    running.delete(process);
  });
  running.add(process);
  return process;
}

export async function stop(process, signal = "SIGTERM") {
  if (process.ended) return;
  process.child.kill(signal);
  await until("a process to end", () => process.ended).catch(() => process.child.kill("SIGKILL"));
}

export async function stopAll() {
  await Promise.all([...running].map((process) => stop(process)));
  for (const path of leaving) rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  leaving.clear();
}

/** Folders that go once nobody writes into them any more. */
const leaving = new Set();

export function folder() {
  const path = mkdtempSync(join(tmpdir(), "tidegate-page-"));
  return { path, write: (name, text) => writeFileSync(join(path, name), text), remove: () => leaving.add(path) };
}

export function codeOf(process) {
  return until("the claim code", () => {
    check(!process.ended, `the gateway ended: ${process.said.slice(-800)}`);
    return /code(?:=| )"?([A-Z0-9]{4}-[A-Z0-9]{4})/.exec(process.said.replace(/\x1b\[[0-9;]*m/g, ""))?.[1];
  });
}

export function browser() {
  const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
  return chromium.launch({ executablePath: CHROMIUM, headless: true, args });
}

/** A page that remembers what must never happen: errors, requests to somebody else. */
export async function open(chrome, base, options = {}) {
  const context = await chrome.newContext({ viewport: { width: 1280, height: 860 }, locale: "en-GB", reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  const faults = [];
  page.expected = [];
  page.on("console", (message) => {
    if (message.type() === "error" && !page.expected.some((word) => message.text().includes(word))) faults.push(`console: ${message.text()} ${message.location().url}`);
  });
  page.on("pageerror", (error) => faults.push(`error: ${error.message}`));
  page.on("dialog", (dialog) => {
    if (dialog.type() === "alert") faults.push(`alert: ${dialog.message()}`);
    void dialog.accept();
  });
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(base) && !url.startsWith("data:")) faults.push(`request to another host: ${url}`);
  });
  page.faults = faults;
  page.setDefaultTimeout(PATIENCE_MS);
  return { context, page };
}

function axeOn(page) {
  return page.evaluate(async () => {
    const found = await globalThis.axe.run(document, { resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] });
    return found.violations.map((one) => ({ id: one.id, told: `${one.id} (${one.nodes.length}): ${one.nodes[0]?.html.slice(0, 160)} ${one.nodes[0]?.any[0]?.message.slice(0, 200) ?? ""}` }));
  });
}

/** Nothing that axe finds twice: a live screen may change under its hands, and is then judged by two moments at once. */
export async function accessible(page, name) {
  await page.evaluate(axe);
  const first = await axeOn(page);
  if (first.length === 0) return;
  const again = await axeOn(page);
  const told = again.filter((one) => first.some(({ id }) => id === one.id)).map((one) => one.told);
  check(told.length === 0, `${name}: axe finds ${told.join("; ")}`);
}

export async function fits(page, name) {
  const { scroll, width } = await page.evaluate(() => ({ scroll: document.documentElement.scrollWidth, width: innerWidth }));
  check(scroll <= width, `${name}: is ${scroll} px wide on a screen of ${width}`);
}

export const shot = (page, name) => page.screenshot({ path: join(artefacts, `${name}.png`), fullPage: true });

/** What is on the screen, as the README shows it: `npm run pictures` takes these over. */
export const picture = (page, name) => page.screenshot({ path: join(artefacts, `picture-${name}.png`) });

export const PASSWORD = "a sentence that is long";

export async function claim(page, base, code) {
  await page.goto(base);
  await page.getByLabel("Claim code").fill(code);
  await page.getByLabel("Your name here").fill("ada");
  await page.getByLabel("Your password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Claim it" }).click();
  await page.waitForURL("**/setup");
}

export async function login(page) {
  await page.getByLabel("Name", { exact: true }).fill("ada");
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Log in" }).click();
}
