// The screens: where they are, who may see them, and the code that is fetched when somebody goes there.

import type { Component } from "svelte";
import type { IconName } from "../part/Icon.svelte";
import type { Role } from "../lib/types";
import type { Key } from "../words/index.svelte";

export type Screen = {
  path: string;
  name: Key;
  /** Without an icon it is not in the navigation. */
  icon?: IconName;
  role?: Role;
  /** Each is given the parts of the path; some need none. */
  load: () => Promise<{ default: Component<{ parts: string[] }> | Component<Record<string, never>> }>;
};

/** Fetched once; the promise stays, so that a screen shows at once the second time. */
function once<T>(fetch: () => Promise<T>): () => Promise<T> {
  let kept: Promise<T> | null = null;
  return () =>
    (kept ??= fetch().catch((error) => {
      kept = null;
      throw error;
    }));
}

const missing: Screen = { path: "", name: "missing.title", load: once(() => import("./Missing.svelte")) };

export const SCREENS: Screen[] = [
  { path: "/", name: "nav.overview", icon: "overview", load: once(() => import("./Overview.svelte")) },
  { path: "/devices", name: "nav.devices", icon: "devices", load: once(() => import("./Devices.svelte")) },
  { path: "/upstreams", name: "nav.upstreams", icon: "upstreams", load: once(() => import("./Upstreams.svelte")) },
  { path: "/log", name: "nav.log", icon: "log", load: once(() => import("./Log.svelte")) },
  { path: "/inbox", name: "nav.inbox", icon: "inbox", load: once(() => import("./Inbox.svelte")) },
  { path: "/hub", name: "nav.hub", icon: "hub", load: once(() => import("./Hub.svelte")) },
  { path: "/find", name: "nav.find", icon: "find", role: "operator", load: once(() => import("./Find.svelte")) },
  { path: "/events", name: "nav.events", icon: "events", load: once(() => import("./Events.svelte")) },
  { path: "/config", name: "nav.config", icon: "config", load: once(() => import("./Config.svelte")) },
  { path: "/system", name: "nav.system", icon: "system", load: once(() => import("./System.svelte")) },
  { path: "/setup", name: "nav.setup", role: "admin", load: once(() => import("./Setup.svelte")) },
];
const device: Screen = { path: "/devices", name: "nav.devices", load: once(() => import("./Device.svelte")) };

export function find(parts: string[]): Screen {
  const [first, second] = parts;
  if (first === "devices" && second !== undefined) return device;
  return SCREENS.find((screen) => screen.path === `/${first ?? ""}`) ?? missing;
}
