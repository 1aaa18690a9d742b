// Where a device of the hub is shown; a module's id has a slash in it.
export const hubHref = (id: string): string => `/hub/device/${encodeURIComponent(id)}`;
export const hubPath = (id: string, rest = ""): string => `/hub/devices/${encodeURIComponent(id)}${rest}`;
