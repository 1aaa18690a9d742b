// People who set something and are told what became of it, and people who register devices at the hub.

import { accessible, check, fits, shot, until } from "./harness.mjs";
import { demo } from "./screens.mjs";

export const stories = {
  "a set-point is set and read back, and what the guard refuses is told beside it": async (chrome) => {
    const { page, base } = await demo(chrome);
    await page.goto(`${base}/devices/boiler-1/commands`);
    const card = page.locator("main li", { has: page.getByRole("heading", { name: "setpoint" }) });
    await card.getByLabel("setpoint").fill("42.5");
    await card.getByRole("button", { name: "Set" }).click();
    await card.getByText("done").waitFor();
    check((await card.innerText()).includes("read back: 42.5 °C"), await card.innerText());
    // What was read back is what the device says from now on.
    await until("the value to follow", async () => (await card.locator(".value").innerText()).startsWith("42.5"));
    await card.getByLabel("setpoint").fill("99");
    await card.getByRole("button", { name: "Set" }).click();
    await card.getByText("rejected").waitFor();
    check((await card.innerText()).includes("80"), await card.innerText());
    check((await card.getByLabel("setpoint").inputValue()) === "99", "what was typed is gone");
    const pump = page.locator("main li", { has: page.getByRole("heading", { name: "pump" }) });
    await pump.getByRole("button", { name: "Off" }).click();
    await pump.getByText("done").waitFor();
    await until("the pump to be off", async () => (await pump.locator(".value").innerText()).startsWith("false"));
    await shot(page, "commands-done-1280-light");
    await page.goto(`${base}/inbox/writes`);
    await page.getByText("setpoint=42.5").first().waitFor();
    await page.goto(`${base}/inbox`);
    await page.getByText("No command waits").or(page.getByText("rejected")).first().waitFor();
    check(page.faults.length === 0, page.faults.join("\n"));
  },

  "a device is registered, its connection string is there to paste and to scan, and a message waits for it": async (chrome) => {
    const { page, base } = await demo(chrome);
    page.expected.push("404");
    await page.goto(`${base}/hub`);
    await page.getByRole("button", { name: "Register a device" }).first().click();
    await page.getByLabel("Device id").fill("pump 7");
    page.expected.push("400");
    await page.getByRole("button", { name: "Register a device" }).last().click();
    await page.getByText("The hub does not take this").waitFor();
    await page.getByLabel("Device id").fill("pump-7");
    await page.getByRole("button", { name: "Register a device" }).last().click();
    await page.getByRole("heading", { name: "pump-7" }).waitFor();
    check(!(await page.locator("main").innerText()).includes("SharedAccessKey"), "keys are shown unasked");
    await page.getByRole("button", { name: "Show the keys" }).click();
    await page.getByText("HostName=").waitFor();
    await page.getByLabel("Name of this gateway for devices").fill("gw-01.local");
    await page.getByRole("button", { name: "Use it" }).click();
    await page.getByText("HostName=gw-01.local;DeviceId=pump-7;SharedAccessKey=").waitFor();
    check((await page.getByRole("img", { name: "Connection string" }).count()) === 1, "there is no QR code");
    await page.getByLabel("What it says").fill("open the valve");
    await page.getByRole("button", { name: "Send", exact: true }).click();
    await page.getByText("Kept as").waitFor();
    await page.getByLabel("Method").fill("reboot");
    await page.getByRole("button", { name: "Call", exact: true }).click();
    await page.getByText("The device is not there").waitFor();
    await page.getByLabel("Change what is desired, JSON").fill("{oops");
    await page.getByRole("button", { name: "Change", exact: true }).click();
    await page.getByText("is no JSON").waitFor();
    await page.getByLabel("Change what is desired, JSON").fill('{"interval": 30}');
    await page.getByRole("button", { name: "Change", exact: true }).click();
    await until("the twin to show it", async () => (await page.locator("main pre").first().innerText()).includes('"interval": 30'));
    for (const [width, height] of [[1280, 1400], [390, 2600]]) {
      await page.setViewportSize({ width, height });
      await shot(page, `hub-device-${width}-light`);
      await fits(page, `hub device at ${width}`);
      await accessible(page, `hub device at ${width}`);
    }
    await page.emulateMedia({ colorScheme: "dark" });
    await shot(page, "hub-device-390-dark");
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize({ width: 1280, height: 900 });
    await page.getByRole("button", { name: "Take waiting messages away" }).click();
    await page.getByText("Taken away: 1").waitFor();
    await page.getByRole("button", { name: "Keep it out" }).click();
    await page.getByText("kept out").waitFor();
    await page.goto(`${base}/hub`);
    await page.getByRole("link", { name: "pump-7" }).waitFor();
    await shot(page, "hub-devices-1280-light");
    await page.goto(`${base}/hub/events`);
    await page.getByText("twin changed").first().waitFor();
    await page.goto(`${base}/hub/device/pump-7`);
    await page.getByRole("button", { name: "Remove" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
    await page.getByText("No device is registered").waitFor();
    check(page.faults.length === 0, page.faults.join("\n"));
  },
};
