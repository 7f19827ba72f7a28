/** Light or dark: the operating system's choice until a person makes one. */
type Choice = "system" | "light" | "dark";
const KEY = "sardeenz.theme";

class Theme {
  choice = $state<Choice>((localStorage.getItem(KEY) as Choice | null) ?? "system");
  private prefersDark = $state(matchMedia("(prefers-color-scheme: dark)").matches);

  constructor() {
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => {
      this.prefersDark = event.matches;
    });
  }

  get dark(): boolean {
    return this.choice === "system" ? this.prefersDark : this.choice === "dark";
  }

  /** The other one; choosing what the system prefers anyway follows the system again. */
  toggle(): void {
    const dark = !this.dark;
    this.choice = dark === this.prefersDark ? "system" : dark ? "dark" : "light";
    if (this.choice === "system") {
      localStorage.removeItem(KEY);
      delete document.documentElement.dataset["theme"];
    } else {
      localStorage.setItem(KEY, this.choice);
      document.documentElement.dataset["theme"] = this.choice;
    }
  }
}

export const theme = new Theme();
