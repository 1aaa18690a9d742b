// Dark or light: as the system says until somebody chooses.

export type Choice = "system" | "light" | "dark";
const KEY = "tidegate-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

class Theme {
  choice = $state<Choice>(kept());
  systemDark = $state(system.matches);

  constructor() {
    system.addEventListener("change", (now) => {
      this.systemDark = now.matches;
      this.show();
    });
    this.show();
  }

  get dark(): boolean {
    return this.choice === "dark" || (this.choice === "system" && this.systemDark);
  }

  choose(choice: Choice): void {
    this.choice = choice;
    try {
      localStorage.setItem(KEY, choice);
    } catch {
      // A browser that keeps nothing shows the system's choice next time.
    }
    this.show();
  }

  private show(): void {
    document.documentElement.dataset["theme"] = this.dark ? "dark" : "light";
    document.querySelector('meta[name="theme-color"]')?.setAttribute("content", this.dark ? "#0e1514" : "#f6f5f1");
  }
}

function kept(): Choice {
  try {
    const choice = localStorage.getItem(KEY);
    return choice === "light" || choice === "dark" ? choice : "system";
  } catch {
    return "system";
  }
}

export const theme = new Theme();
