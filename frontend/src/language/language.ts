/** The language of the page: the browser's first that there is, until a person chooses one. */
export const LANGUAGES = { en: "English", de: "Deutsch" } as const;
export type Language = keyof typeof LANGUAGES;

const KEY = "sardeenz.language";

const spoken = (tag: string | null | undefined): tag is Language => tag != null && tag in LANGUAGES;

/** The first of `wanted`, as "de-AT", that there are words in. */
export function firstSpoken(wanted: readonly string[]): Language {
  return wanted.map((tag) => tag.slice(0, 2).toLowerCase()).find(spoken) ?? "en";
}

function chosen(): Language {
  if (!("localStorage" in globalThis)) return "en";
  const kept = localStorage.getItem(KEY);
  return spoken(kept) ? kept : firstSpoken(navigator.languages);
}

/** It stays the same as long as the page does, so that constants may be words. */
export const language: Language = chosen();

export const other: Language = language === "de" ? "en" : "de";

/** Loads the page again in another language. */
export function speak(next: Language): void {
  localStorage.setItem(KEY, next);
  location.reload();
}
