import { expect, it } from "vitest";
import { firstSpoken, language } from "./language";

it("takes the first language that there are words in", () => {
  expect(firstSpoken(["fr-FR", "de-AT", "en"])).toBe("de");
  expect(firstSpoken(["EN-us", "de"])).toBe("en");
});

it("is English where nothing else is known", () => {
  expect(firstSpoken(["fr", "ja-JP"])).toBe("en");
  expect(language).toBe("en");
});
