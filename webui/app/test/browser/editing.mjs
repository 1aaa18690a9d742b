// People who work at the same time, lines that break, sessions that end: nothing that was typed is lost, nothing is overwritten unseen.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { accessible, binary, check, claim, codeOf, folder, freePort, login, open, shot, start, stop, until } from "./harness.mjs";

async function site(chrome) {
  const place = folder();
  const port = await freePort();
  const base = `http://127.0.0.1:${port}`;
  place.write("tidegate.toml", `config_version = 1\n\n[gateway]\nid = "gw-01"\nstate_dir = "${place.path}/state"\n\n[web]\nlisten = "127.0.0.1:${port}"\ntls = false\n`);
  const run = () => start(binary, ["run", "--config", place.path]);
  const gateway = run();
  const code = await codeOf(gateway);
  const { context, page } = await open(chrome, base);
  await claim(page, base, code);
  return { place, base, run, gateway, context, page };
}

const editor = (page) => page.locator("textarea");
async function write(page, extra) {
  await editor(page).waitFor();
  await until("the text", async () => (await editor(page).inputValue()).includes("config_version"));
  await editor(page).fill(`${await editor(page).inputValue()}${extra}`);
}
async function apply(page, why) {
  await page.getByRole("button", { name: "Review the change" }).click();
  await page.getByLabel("Why").fill(why);
  await page.getByLabel("On trial for").selectOption("0");
  await page.getByRole("button", { name: "Apply it" }).click();
}

export const stories = {
  "two browsers edit one file, and neither overwrites the other unseen": async (chrome) => {
    const { base, page, context, place } = await site(chrome);
    const other = await open(chrome, base, { storageState: await context.storageState() });
    await page.goto(`${base}/config`);
    await other.page.goto(`${base}/config`);
    await write(other.page, "\n# mine, by the second\n");
    await write(page, "\n# theirs, by the first\n");
    await apply(page, "<img src=x onerror=alert(1)>");
    await page.getByText("The change is applied").waitFor();
    // The second is told, keeps its text, sees the other's, and cannot apply before it has decided.
    await other.page.getByText("Somebody else changed tidegate.toml while you did").waitFor();
    check((await editor(other.page).inputValue()).includes("# mine, by the second"), "the second one's text is gone");
    check(await other.page.getByRole("button", { name: "Review the change" }).isDisabled(), "it could be applied unseen");
    await other.page.getByText("Their text").click();
    await other.page.locator("pre", { hasText: "# theirs, by the first" }).waitFor();
    await shot(other.page, "clash-1280-light");
    await other.page.getByRole("button", { name: "Keep mine, replace theirs" }).click();
    await apply(other.page, "mine after all");
    await other.page.getByText("The change is applied").waitFor();
    // The history has both, and a comment that looks like markup is a comment.
    await page.goto(`${base}/config/history`);
    await page.getByText("<img src=x onerror=alert(1)>").waitFor();
    await page.getByText("mine after all").waitFor();
    await page.locator("tbody a").first().click();
    await page.getByText("+# mine, by the second").waitFor();
    await shot(page, "diff-1280-light");
    check([...page.faults, ...other.page.faults].length === 0, [...page.faults, ...other.page.faults].join("\n"));
    place.remove();
  },

  "a change on trial is counted down for everybody and can be taken back": async (chrome) => {
    const { base, page, place } = await site(chrome);
    await page.goto(`${base}/config`);
    await write(page, "\n# on trial\n");
    await page.getByRole("button", { name: "Review the change" }).click();
    await page.getByRole("button", { name: "Try it" }).click();
    await page.getByText("A change is on trial.").waitFor();
    await shot(page, "trial-1280-light");
    await page.getByRole("button", { name: "Roll back" }).click();
    await page.getByText("The change is rolled back").waitFor();
    await until("the file to be as it was", async () => !(await editor(page).inputValue()).includes("# on trial"));
    check(page.faults.length === 0, page.faults.join("\n"));
    place.remove();
  },

  "what is wrong with a file is said beside it while one types": async (chrome) => {
    const { base, page, place } = await site(chrome);
    await page.goto(`${base}/config`);
    await write(page, "\n[lgo]\n");
    await page.getByRole("alert").getByText("lgo").first().waitFor();
    check(await page.getByRole("button", { name: "Review the change" }).isDisabled(), "a broken file could be applied");
    await shot(page, "problem-1280-light");
    check(page.faults.length === 0, page.faults.join("\n"));
    place.remove();
  },

  "a gateway that goes away and comes back is told, and the page follows by itself": async (chrome) => {
    const { base, page, place, run, gateway } = await site(chrome);
    page.expected.push("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE");
    await page.goto(base);
    await page.locator('[data-figure="waiting"]').waitFor();
    await stop(gateway);
    await page.getByText("No connection to the gateway").waitFor();
    await shot(page, "offline-1280-light");
    const again = run();
    await until("the line to be back", async () => (await page.getByText("No connection to the gateway").count()) === 0, 60_000);
    check(!again.ended, again.said);
    check(page.faults.length === 0, page.faults.join("\n"));
    place.remove();
  },

  "a session that ends asks for the password above the work and keeps what was typed": async (chrome) => {
    const { base, page, context, place } = await site(chrome);
    page.expected.push("401");
    await page.goto(`${base}/config`);
    await write(page, "\n# not saved yet\n");
    const out = await context.request.post(`${base}/api/v1/logout`, { headers: { Origin: base } });
    check(out.status() === 204, `log-out answered ${out.status()}`);
    await page.getByRole("heading", { name: "Your session has ended" }).waitFor();
    await shot(page, "session-ended-1280-light");
    await page.getByLabel("Password", { exact: true }).waitFor();
    await login(page);
    await until("the dialog to go", async () => (await page.getByText("Your session has ended").count()) === 0);
    check((await editor(page).inputValue()).includes("# not saved yet"), "what was typed is gone");
    check(page.faults.length === 0, page.faults.join("\n"));
    place.remove();
  },

  "a backup is downloaded, the configuration changes, and the backup brings it back; a bundle holds no secret": async (chrome) => {
    const { base, page, place } = await site(chrome);
    await page.goto(`${base}/system/keep`);
    const [saved] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Download a backup" }).click()]);
    const backup = readFileSync(await saved.path(), "utf8");
    check(JSON.parse(backup).files["tidegate.toml"].includes("config_version = 1"), "the configuration is not in it");
    await page.goto(`${base}/config`);
    await write(page, "\n[log]\nmax_size = \"100MiB\"\n");
    await apply(page, "more room");
    await until("the change", () => readFileSync(join(place.path, "tidegate.toml"), "utf8").includes("100MiB"));
    await page.goto(`${base}/system/keep`);
    // A file that is none is told as what it is.
    page.expected.push("422");
    await page.locator("input[type=file]").setInputFiles({ name: "x.json", mimeType: "application/json", buffer: Buffer.from("{}") });
    await page.getByText("no backup of a configuration").waitFor();
    await page.locator("input[type=file]").setInputFiles({ name: "b.json", mimeType: "application/json", buffer: Buffer.from(backup) });
    await page.getByText("gw-01").last().waitFor();
    await accessible(page, "backup: read");
    await page.getByRole("button", { name: "Review the change" }).click();
    await page.getByLabel("On trial for").selectOption("0");
    await page.getByRole("button", { name: "Apply it" }).click();
    await until("the old text", () => !readFileSync(join(place.path, "tidegate.toml"), "utf8").includes("100MiB"));
    const [bundle] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Download a support bundle" }).click()]);
    const bytes = readFileSync(await bundle.path());
    check(bytes[0] === 0x1f && bytes[1] === 0x8b && bytes.length > 1000, "the bundle is no archive");
    // Without systemd nobody would start it again, and it says so.
    if (!process.env.INVOCATION_ID) {
      page.expected.push("409");
      await page.getByRole("button", { name: "Start anew" }).click();
      await page.getByRole("dialog").getByRole("button", { name: "Start anew" }).click();
      await page.getByText("Nobody would start it again").waitFor();
    }
    await page.goto(`${base}/system/checks`);
    await page.getByText("are as they should be").click();
    await page.getByText("The state folder can be written").waitFor();
    await page.getByRole("button", { name: "Look again" }).click();
    await page.getByText("are as they should be").waitFor();
    await accessible(page, "checks");
    check(page.faults.length === 0, page.faults.join("\n"));
  },
};
