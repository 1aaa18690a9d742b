// From an unclaimed box to a message that a broker has acknowledged, with a stopwatch: a Modbus device by pymodbus, Debian's mosquitto.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { accessible, binary, check, codeOf, fits, folder, freePort, open, PASSWORD, picture, project, shot, start, until } from "./harness.mjs";

export async function device(set = { holding: { 100: [215, 0x41ac, 0, 7] } }) {
  const port = await freePort();
  const python = join(project, "tests/.tools/venv/bin/python");
  check(existsSync(python), "pymodbus is not there: tests/run installs it");
  const slave = start(python, [join(project, "tests/peer/slave.py"), "tcp", "127.0.0.1", String(port)]);
  await until("the device", () => slave.said.includes('"ready": true'));
  slave.child.stdin.write(`${JSON.stringify({ unit: 1, set })}\n`);
  return port;
}

async function broker(site) {
  const port = await freePort();
  site.write("mosquitto.conf", `listener ${port} 127.0.0.1\nallow_anonymous true\n`);
  const command = existsSync("/usr/sbin/mosquitto") ? "/usr/sbin/mosquitto" : "mosquitto";
  const mosquitto = start(command, ["-c", join(site.path, "mosquitto.conf")]);
  await until("the broker", () => /running/.test(mosquitto.said));
  return port;
}

export const stories = {
  "a technician comes from the claim code to the first accepted message, on a phone": async (chrome) => {
    const site = folder();
    const [unit, hub, port] = [await device(), await broker(site), await freePort()];
    const base = `http://127.0.0.1:${port}`;
    site.write("tidegate.toml", `config_version = 1\n\n[gateway]\nid = "gw-01"\nstate_dir = "${site.path}/state"\n\n[web]\nlisten = "127.0.0.1:${port}"\ntls = false\n\n[clock]\nwait = "0s"\n`);
    const gateway = start(binary, ["run", "--config", site.path]);
    const code = await codeOf(gateway);
    const { page } = await open(chrome, base, { viewport: { width: 390, height: 800 } });
    const began = Date.now();
    let screens = 1;

    await page.goto(base);
    await page.getByRole("heading", { name: "Claim this gateway" }).waitFor();
    await accessible(page, "claim");
    await fits(page, "claim");
    await shot(page, "claim-390-light");
    // A wrong code keeps what was typed and says what to do.
    page.expected.push("401");
    await page.getByLabel("Claim code").fill("2222-2222");
    await page.getByLabel("Your name here").fill("ada");
    await page.getByLabel("Your password", { exact: true }).fill(PASSWORD);
    await page.getByRole("button", { name: "Claim it" }).click();
    await page.getByRole("alert").getByText("This is not the code").waitFor();
    check((await page.getByLabel("Your password", { exact: true }).inputValue()) === PASSWORD, "the password that was typed is gone");
    await page.getByLabel("Claim code").fill(code.toLowerCase().replace("-", " "));
    await page.getByRole("button", { name: "Claim it" }).click();

    screens += 1;
    await page.getByRole("heading", { name: "Name and time" }).waitFor();
    await accessible(page, "setup: name and time");
    await shot(page, "setup-1-390-light");
    await page.getByRole("button", { name: "Next" }).click();

    screens += 1;
    await page.getByRole("heading", { name: "A device and its first value" }).waitFor();
    const connection = page.getByRole("group", { name: "Connection" });
    const leaf = page.getByRole("group", { name: "Device" });
    const point = page.getByRole("group", { name: "First point" });
    await connection.getByLabel("address", { exact: true }).fill(`127.0.0.1:${unit}`);
    await leaf.getByLabel("id *").fill("boiler");
    await leaf.getByLabel("interval").fill("500ms");
    await point.getByLabel("name *").fill("temperature");
    await point.getByLabel("address *").fill("100");
    await point.getByLabel("scale", { exact: true }).fill("0.1");
    await point.getByLabel("unit", { exact: true }).fill("<b>°C</b>");
    await page.getByRole("button", { name: "Read it now" }).click();
    await page.getByText("21.5", { exact: true }).waitFor();
    await accessible(page, "setup: device");
    await fits(page, "setup: device");
    await shot(page, "setup-2-390-light");
    await page.getByRole("button", { name: "Review the change" }).click();

    screens += 1;
    await page.getByText("adapter starts").waitFor();
    await accessible(page, "review");
    await shot(page, "review-390-light");
    await page.getByLabel("On trial for").selectOption("0");
    await page.getByRole("button", { name: "Apply it" }).click();

    screens += 1;
    await page.getByRole("heading", { name: "A new upstream" }).waitFor();
    await page.getByLabel("address *").fill(`127.0.0.1:${hub}`);
    await page.getByLabel("client_id *").fill("gw-01");
    await page.getByRole("button", { name: "Test the connection" }).click();
    await page.getByText("The hub accepts this connection.").waitFor();
    await accessible(page, "setup: upstream");
    await fits(page, "setup: upstream");
    await shot(page, "setup-3-390-light");
    await picture(page, "upstream");
    await page.getByRole("button", { name: "Review the change" }).click();

    screens += 1;
    await page.getByLabel("On trial for").selectOption("0");
    await page.getByRole("button", { name: "Apply it" }).click();

    screens += 1;
    await page.getByRole("heading", { name: /messages accepted by cloud/ }).waitFor();
    const seconds = (Date.now() - began) / 1000;
    await accessible(page, "setup: accepted");
    await shot(page, "setup-4-390-light");
    check(screens <= 7, `it took ${screens} screens`);

    // A connection string is pasted, becomes a file, and is never shown again; a wrong one is told as what it is.
    await page.goto(`${base}/upstreams/new`);
    await page.getByRole("radio", { name: /iothub/ }).check();
    await page.getByLabel("Name", { exact: true }).fill("azure");
    await page.getByLabel("Connection string", { exact: true }).fill("HostName=127.0.0.1;DeviceId=gw-01;SharedAccessKey=bm90IG91ciBrZXksIGJ1dCBhIGtleSBhbnl3YXk=");
    await accessible(page, "upstream: paste");
    await fits(page, "upstream: paste");
    await shot(page, "upstream-paste-390-light");
    await page.locator("form").getByRole("button", { name: "Test the connection" }).click();
    await page.waitForFunction(() => [...document.querySelectorAll("input")].some((one) => one.value.endsWith("/secrets/azure-connection-string")));
    check((await page.getByLabel("Connection string", { exact: true }).inputValue()) === "", "the secret is still on the page");
    check(!(await page.content()).includes("bm90IG91"), "the secret is in the page");
    await page.locator(".steps, ol").first().waitFor();
    await page.evaluate(() => scrollTo(0, 0));

    // A provisioning service's wizard asks for what that needs, and for nothing of another way.
    await page.goto(`${base}/upstreams/new`);
    await page.getByRole("radio", { name: /iothub/ }).check();
    await page.getByLabel("How this gateway proves itself").selectOption("dps");
    await page.getByLabel("id_scope", { exact: true }).fill("0ne00ABCDEF");
    await page.getByLabel("registration_id", { exact: true }).fill("gw-01");
    check((await page.getByLabel("device_id", { exact: true }).count()) === 0, "a key of another way is asked for");
    await page.getByLabel("dps_host", { exact: true }).fill("127.0.0.1");
    await page.getByLabel("Key", { exact: true }).fill("bm90IG91ciBrZXksIGJ1dCBhIGtleSBhbnl3YXk=");
    await accessible(page, "upstream: provisioning");
    await shot(page, "upstream-dps-390-light");
    // A unit that looks like markup is a unit.
    await page.goto(`${base}/devices/boiler`);
    await page.getByText("<b>°C</b>").waitFor();
    // A close look at it is told among the events.
    await page.goto(`${base}/devices/boiler/frames`);
    await page.getByRole("button", { name: "Watch it closely" }).click();
    await page.getByRole("button", { name: "Stop watching" }).waitFor();
    await page.getByRole("main").getByRole("link", { name: "Events" }).click();
    await page.getByText(/read, before scale and offset: temperature=215/).first().waitFor();
    // Points come out of a spreadsheet; a line that cannot be is told.
    await page.goto(`${base}/devices/boiler/points`);
    await page.locator("input[type=file]").setInputFiles({ name: "p.csv", mimeType: "text/csv", buffer: Buffer.from("name;register;address;scale\npressure;holding;103;0,1\ntemperature;holding;1;\n") });
    await page.getByText("there is a point named temperature already").waitFor();
    await page.getByText("1 points can be added.").waitFor();
    await accessible(page, "points: import");
    await page.getByRole("button", { name: "Review the change" }).click();
    await page.getByLabel("On trial for").selectOption("0");
    await page.getByRole("button", { name: "Apply it" }).click();
    await page.getByText("pressure").first().waitFor();
    // The register explorer finds what the display shows.
    await page.goto(`${base}/find/registers`);
    await page.getByLabel("First register").fill("100");
    await page.getByLabel("How many").fill("4");
    await page.getByRole("button", { name: "Read the block" }).click();
    await page.getByLabel("What does the device's display show?").fill("21.5");
    await page.getByText(/holding 101 · f32/).waitFor();
    await page.getByText(/holding 100 · u16 · × 0.1/).waitFor();
    await accessible(page, "find");
    await fits(page, "find");
    await shot(page, "find-filled-390-light");
    await page.getByText("Decode a frame from somewhere else").click();
    await page.getByLabel("The frame, in hexadecimal").fill("00 01 00 00 00 07 11 04 04 41ac 0000");
    await page.getByText("Answer to function 4 with 2 registers").waitFor();
    await page.getByLabel("The frame, in hexadecimal").fill("01 03 04 41 ac 00 00 ff ff");
    await page.getByText("the checksum or the length does not fit").waitFor();
    await accessible(page, "find: pasted");
    await page.getByLabel("The frame, in hexadecimal").fill("");
    await page.mouse.wheel(0, 420);
    await page.waitForFunction(() => scrollY > 300);
    await picture(page, "find");
    check(page.faults.length === 0, page.faults.join("\n"));
    site.remove();
    return { setup_seconds: Math.round(seconds * 10) / 10, setup_screens: screens };
  },
};
