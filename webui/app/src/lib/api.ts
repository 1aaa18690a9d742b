// Asks the gateway and answers with what it said, or throws a Problem that a screen can show as it is.
//
// Nothing here waits for ever: a vanished gateway becomes the problem "offline" after a while. A session that has ended is
// told to whoever watches, so that the page can ask for the password without losing what was typed.

import type { Fault } from "./types";

/** Slow links exist; beyond this a person would rather be told. */
const PATIENCE_MS = 20_000;

export type FieldFault = { path: string; what: string; next?: string };

export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly title: string,
    readonly detail = "",
    readonly next = "",
    readonly fields: FieldFault[] = [],
    readonly problems: Fault[] = [],
    readonly wait_s: number | null = null,
  ) {
    super(title);
  }

  /** Nobody answered, or something between us and the gateway did. */
  get offline(): boolean {
    return this.status === 0;
  }

  field(path: string): string {
    const found = this.fields.find((field) => field.path === path);
    return found ? [found.what, found.next].filter(Boolean).join("; ") : "";
  }
}

type Watcher = (problem: Problem) => void;
let watcher: Watcher = () => {};

/** Told of every problem; the session store listens. */
export function watchProblems(told: Watcher): void {
  watcher = told;
}

async function problemOf(answer: Response): Promise<Problem> {
  const wait = Number(answer.headers.get("Retry-After"));
  const wait_s = Number.isFinite(wait) && wait > 0 ? wait : null;
  try {
    const said = (await answer.json()) as Record<string, never>;
    return new Problem(
      answer.status,
      String(said["code"] ?? "unknown"),
      String(said["title"] ?? answer.statusText),
      String(said["detail"] ?? ""),
      String(said["next"] ?? ""),
      said["fields"] ?? [],
      said["problems"] ?? [],
      wait_s,
    );
  } catch {
    return new Problem(answer.status, "unknown", answer.statusText || String(answer.status), "", "", [], [], wait_s);
  }
}

export type Ask = { body?: unknown; etag?: string; signal?: AbortSignal; patience_ms?: number };

async function send(method: string, path: string, { body, etag, signal, patience_ms }: Ask): Promise<Response> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (etag) headers["If-Match"] = etag;
  const limits = [AbortSignal.timeout(patience_ms ?? PATIENCE_MS), ...(signal ? [signal] : [])];
  try {
    return await fetch(`/api/v1${path}`, {
      method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.any(limits),
      credentials: "same-origin",
      redirect: "error",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, "offline", "");
  }
}

export async function ask<T>(method: string, path: string, options: Ask = {}): Promise<T> {
  try {
    const answer = await send(method, path, options);
    if (!answer.ok) throw await problemOf(answer);
    return (answer.status === 204 ? undefined : await answer.json()) as T;
  } catch (error) {
    if (error instanceof Problem) watcher(error);
    throw error;
  }
}

export const get = <T>(path: string, options?: Ask) => ask<T>("GET", path, options);
export const put = <T>(path: string, body?: unknown, options?: Ask) => ask<T>("PUT", path, { body, ...options });
export const post = <T>(path: string, body?: unknown, options?: Ask) => ask<T>("POST", path, { body, ...options });

/** What went wrong, whatever was thrown. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem(-1, "page", error instanceof Error ? error.message : String(error));
}

export function query(values: Record<string, string | number | undefined | null>): string {
  const set = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return set.length ? `?${new URLSearchParams(set.map(([key, value]) => [key, String(value)]))}` : "";
}
