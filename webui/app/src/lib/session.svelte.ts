// Who is here. Asked first, and again whenever the gateway says that the session has ended.

import { asProblem, get, post, Problem, watchProblems } from "./api";
import type { Role, Session } from "./types";

const RANK: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

class Here {
  info = $state.raw<Session | null>(null);
  trouble = $state.raw<Problem | null>(null);
  /** The session ended while somebody worked: the password is asked for above what is on the screen. */
  ended = $state(false);

  constructor() {
    watchProblems((problem) => {
      if (problem.code === "not-logged-in" && this.info?.user) this.ended = true;
    });
  }

  get user() {
    return this.info?.user ?? null;
  }

  may(role: Role): boolean {
    return this.user !== null && RANK[this.user.role] >= RANK[role];
  }

  async load(): Promise<void> {
    try {
      this.take(await get<Session>("/session"));
    } catch (error) {
      this.trouble = asProblem(error);
    }
  }

  async login(name: string, password: string): Promise<void> {
    this.take(await post<Session>("/login", { name, password }));
  }

  async claim(code: string, name: string, password: string): Promise<void> {
    this.take(await post<Session>("/claim", { code, name, password }));
  }

  async logout(): Promise<void> {
    await post("/logout");
    location.assign("/");
  }

  /** Asks whether the session is still good; the stream cannot tell a refusal from a lost connection. */
  async probe(): Promise<void> {
    const now = await get<Session>("/session");
    if (this.info?.user && !now.user) this.ended = true;
    else this.take(now);
  }

  private take(session: Session): void {
    this.info = session;
    this.trouble = null;
    if (session.user) this.ended = false;
  }
}

export const here = new Here();
