// What a pasted connection string says, and what is wrong with it, before the gateway is asked.

export type Connection = { host: string; device: string; hasKey: boolean; x509: boolean };
export type Reading = { ok: Connection } | { wrong: "empty" | "service" | "host" | "device" | "key" };

export function connection(text: string): Reading {
  const parts = new Map(
    text
      .trim()
      .split(";")
      .map((part) => part.trim())
      .filter(Boolean)
      .map((part) => {
        const equals = part.indexOf("=");
        return [part.slice(0, equals).trim().toLowerCase(), part.slice(equals + 1).trim()] as const;
      }),
  );
  if (parts.size === 0) return { wrong: "empty" };
  // The commonest mistake: the hub's own policy instead of a device's string.
  if (parts.has("sharedaccesskeyname")) return { wrong: "service" };
  const host = parts.get("hostname") ?? "";
  const device = parts.get("deviceid") ?? "";
  const hasKey = Boolean(parts.get("sharedaccesskey"));
  const x509 = parts.get("x509")?.toLowerCase() === "true";
  if (!host) return { wrong: "host" };
  if (!device) return { wrong: "device" };
  if (!hasKey && !x509) return { wrong: "key" };
  return { ok: { host, device, hasKey, x509 } };
}
