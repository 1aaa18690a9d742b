// Searches: a device on the network, a sensor on the air, and a search that somebody ends.

import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { accessible, binary, check, claim, codeOf, fits, folder, freePort, open, picture, shot, start, until } from "./harness.mjs";
import { device } from "./setup.mjs";

/** A receiver as another program would be: it says what it hears to whoever connects. */
function receiver(path) {
  const line = "A4:C1:38:8D:18:B2 -61 sfcd2=4002ca092e35\nCB:B8:33:4C:88:4F -70 m0499=0512fc5394c37c0004fffc040cac364200cdcbb8334c884f\n";
  const server = createServer((socket) => {
    const timer = setInterval(() => socket.write(line), 200);
    socket.on("error", () => {}).on("close", () => clearInterval(timer));
  });
  return new Promise((ready) => server.listen(path, () => ready(server)));
}

export const stories = {
  "a device is paired from the page with the digits that it shows": async (chrome) => {
    const site = folder();
    const port = await freePort();
    const base = `http://127.0.0.1:${port}`;
    site.write("tidegate.toml", `config_version = 1\n\n[gateway]\nid = "gw-01"\nstate_dir = "${site.path}/state"\n\n[web]\nlisten = "127.0.0.1:${port}"\ntls = false\n\n[clock]\nwait = "0s"\n`);
    const gateway = start(binary, ["run", "--config", site.path]);
    const bluetoothd = start(join(dirname(binary), "examples/bluetoothd"), []);
    await until("the bus", () => bluetoothd.said.includes("unix:path="));
    const bus = /unix:path=\S+/.exec(bluetoothd.said)[0];
    const { page } = await open(chrome, base, { viewport: { width: 390, height: 800 } });
    await claim(page, base, await codeOf(gateway));
    await page.goto(`${base}/find`);
    await page.getByRole("radio", { name: /Bluetooth sensors around/ }).check();
    await page.getByText("More settings", { exact: true }).click();
    await page.getByLabel("bus", { exact: true }).fill(bus);
    await page.getByLabel("all", { exact: true }).selectOption("true");
    await page.getByLabel("listen", { exact: true }).fill("10min");
    await page.getByRole("button", { name: "Start the search" }).click();
    const lock = page.getByRole("listitem").filter({ hasText: "C0:00:00:00:00:02" });
    const dialog = page.getByRole("dialog");
    // Other digits come to nothing, which is said, and can be tried again at once.
    await lock.getByRole("button", { name: "Pair" }).click();
    await dialog.getByLabel("Passkey").fill("000041");
    await accessible(page, "pair");
    await fits(page, "pair");
    await shot(page, "pair-390-light");
    await dialog.getByRole("button", { name: "Go on" }).click();
    await dialog.getByText(/AuthenticationFailed/).waitFor();
    await dialog.getByRole("button", { name: "Try again" }).click();
    await dialog.getByLabel("Passkey").fill("000042");
    await dialog.getByRole("button", { name: "Go on" }).click();
    await dialog.getByText(/^Paired\./).waitFor();
    await shot(page, "pair-done-390-light");
    await dialog.getByRole("button", { name: "Close" }).last().click();
    await dialog.waitFor({ state: "detached" });
  },

  "a search finds a meter on the network and sensors on the air, and each is set up from what was found": async (chrome) => {
    const site = folder();
    const [unit, port] = [await device(), await freePort()];
    const base = `http://127.0.0.1:${port}`;
    site.write("tidegate.toml", `config_version = 1\n\n[gateway]\nid = "gw-01"\nstate_dir = "${site.path}/state"\n\n[web]\nlisten = "127.0.0.1:${port}"\ntls = false\n\n[clock]\nwait = "0s"\n`);
    const gateway = start(binary, ["run", "--config", site.path]);
    const air = await receiver(join(site.path, "air.sock"));
    const { page } = await open(chrome, base, { viewport: { width: 390, height: 800 } });
    await claim(page, base, await codeOf(gateway));

    await page.goto(`${base}/find`);
    check(await page.getByRole("button", { name: "Start the search" }).isDisabled(), "a search for nothing can be started");
    // A range that cannot be is told beside the field, and stays as it was typed.
    page.expected.push("422");
    await page.getByLabel("address", { exact: true }).fill("127.0.0.1/4");
    await page.getByText("is no host or range").waitFor();
    await page.getByLabel("address", { exact: true }).fill(`127.0.0.1-3:${unit}`);
    await page.getByText(/Takes at most/).waitFor();
    await page.getByRole("button", { name: "Start the search" }).click();
    await page.getByText(`127.0.0.1:${unit} unit 1`).waitFor();
    await page.getByText("finished", { exact: true }).waitFor();
    await accessible(page, "search: found");
    await fits(page, "search: found");
    await shot(page, "search-found-390-light");
    // It is all there again after a reload.
    await page.reload();
    await page.getByText(`127.0.0.1:${unit} unit 1`).waitFor();
    await page.getByRole("link", { name: "Set it up" }).click();
    const leaf = page.getByRole("group", { name: "Device" });
    await until("the form to be filled", async () => (await leaf.getByLabel("id *").inputValue()) === "unit-1");
    await leaf.getByLabel("id *").fill("meter");
    const point = page.getByRole("group", { name: "First point" });
    await point.getByLabel("name *").fill("temperature");
    await point.getByLabel("address *").fill("100");
    await point.getByLabel("scale", { exact: true }).fill("0.1");
    await page.getByRole("button", { name: "Read it now" }).click();
    await page.getByText("21.5", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Review the change" }).click();
    await page.getByLabel("On trial for").selectOption("0");
    await page.getByRole("button", { name: "Apply it" }).click();
    await page.getByRole("heading", { name: "A new upstream" }).waitFor();
    await page.goto(`${base}/find`);
    await page.getByLabel("address", { exact: true }).fill(`127.0.0.1:${unit}`);
    await page.getByRole("button", { name: "Start the search" }).click();
    await page.getByRole("link", { name: "set up as meter" }).waitFor();

    // The air: what each sensor says is there before it is set up.
    await page.setViewportSize({ width: 1280, height: 1000 });
    await page.goto(`${base}/find`);
    await page.getByRole("radio", { name: /Bluetooth sensors around/ }).check();
    await page.getByLabel("radio", { exact: true }).fill(join(site.path, "air.sock"));
    await page.getByLabel("listen", { exact: true }).fill("10min");
    await page.getByRole("button", { name: "Start the search" }).click();
    await page.getByText("25.06 °C").waitFor();
    await page.getByText("53.49 %").waitFor();
    await accessible(page, "search: around");
    await shot(page, "search-around-1280-light");
    await picture(page, "search");
    await page.getByRole("button", { name: "Stop", exact: true }).click();
    await page.getByText("stopped", { exact: true }).waitFor();
    await page.getByRole("listitem").filter({ hasText: "A4:C1:38:8D:18:B2" }).getByRole("link", { name: "Set it up" }).click();
    await page.getByRole("checkbox", { name: "temperature" }).waitFor();
    await page.getByRole("checkbox", { name: "humidity" }).uncheck();
    await page.getByRole("button", { name: "Read it now" }).click();
    await page.getByText("25.06", { exact: true }).waitFor();
    await shot(page, "search-sensor-1280-light");
    await page.getByRole("button", { name: "Review the change" }).click();
    await page.getByLabel("On trial for").selectOption("0");
    await page.getByRole("button", { name: "Apply it" }).click();
    await page.getByRole("heading", { name: "A new upstream" }).waitFor();
    await page.goto(`${base}/devices/sensor-8d18b2`);
    await page.getByText("25.06").first().waitFor();
    check((await page.getByText("humidity").count()) === 0, "a point that was not wanted is there");
    check(page.faults.length === 0, page.faults.join("\n"));
    air.close();
    site.remove();
  },

  "a sensor that was found is recognised, its model's points are taken, and one is changed for this device alone": async (chrome) => {
    const site = folder();
    const [unit, port] = [await device({ input: { 1: [0x0131, 0x0222] } }), await freePort()];
    const base = `http://127.0.0.1:${port}`;
    site.write("tidegate.toml", `config_version = 1\n\n[gateway]\nid = "gw-01"\nstate_dir = "${site.path}/state"\n\n[web]\nlisten = "127.0.0.1:${port}"\ntls = false\n\n[clock]\nwait = "0s"\n`);
    const gateway = start(binary, ["run", "--config", site.path]);
    const { page } = await open(chrome, base, { viewport: { width: 1280, height: 1000 } });
    await claim(page, base, await codeOf(gateway));
    await page.goto(`${base}/find`);
    await page.getByLabel("address", { exact: true }).fill(`127.0.0.1:${unit}`);
    await page.getByRole("button", { name: "Start the search" }).click();
    await page.getByRole("button", { name: "Which model is it?" }).click();
    await page.getByText("temperature 30.5 °C").waitFor();
    await accessible(page, "search: recognised");
    await shot(page, "search-model-1280-light");
    await page.getByRole("link", { name: "Use it" }).click();
    const leaf = page.getByRole("group", { name: "Device" });
    await until("the model to be chosen", async () => (await leaf.getByLabel("Model").inputValue()) === "xy-md02");
    check((await page.getByRole("group", { name: "Connection" }).getByLabel("address", { exact: true }).inputValue()) === `127.0.0.1:${unit}`, "what was found is overwritten by what the factory sets");
    await leaf.getByLabel("id *").fill("hall");
    await page.getByRole("button", { name: "Read it now" }).click();
    await page.getByText("54.6", { exact: true }).waitFor();
    await shot(page, "setup-model-1280-light");
    await page.getByRole("button", { name: "Review the change" }).click();
    await page.getByText("Messages a minute").waitFor();
    await shot(page, "review-cost-1280-light");
    await accessible(page, "review with cost");
    await page.getByLabel("On trial for").selectOption("0");
    await page.getByRole("button", { name: "Apply it" }).click();
    await page.getByRole("heading", { name: "A new upstream" }).waitFor();
    await page.goto(`${base}/devices/hall/points`);
    await page.getByRole("heading", { name: "From the model xy-md02" }).waitFor();
    await page.getByRole("button", { name: "Change here" }).first().click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("offset", { exact: true }).fill("-0.5");
    await dialog.getByRole("button", { name: "Read it now" }).click();
    await dialog.getByText("30", { exact: true }).first().waitFor();
    await dialog.getByRole("button", { name: "Review the change" }).click();
    await page.getByLabel("On trial for").selectOption("0");
    await page.getByRole("button", { name: "Apply it" }).click();
    await until("the change to be kept", async () => {
      const sections = await (await page.request.get(`${base}/api/v1/config/sections`)).json();
      return JSON.stringify(sections.adapter[0].device[0].point) === '[{"name":"temperature","offset":-0.5}]';
    });
    await page.goto(`${base}/devices/hall/points`);
    await page.getByRole("button", { name: "Leave out humidity" }).waitFor();
    await accessible(page, "points of a model");
    await shot(page, "points-model-1280-light");
    await page.goto(`${base}/devices/hall/docs`);
    await page.getByText("look-alikes").waitFor();
    await page.goto(`${base}/find/templates`);
    await page.getByRole("heading", { name: /Eastron SDM120/ }).waitFor();
    await page.getByLabel("Search by maker or model").fill("pzem");
    await page.getByText("points, wiring and source").click();
    await page.getByText("energy").first().waitFor();
    await accessible(page, "models");
    await shot(page, "models-1280-light");
    await picture(page, "models");
    await page.getByRole("button", { name: "Make it your own" }).click();
    await page.getByLabel("On trial for").selectOption("0");
    await page.getByRole("button", { name: "Apply it" }).click();
    await page.getByText("your own").waitFor();
    check(page.faults.length === 0, page.faults.join("\n"));
    site.remove();
  },
};
