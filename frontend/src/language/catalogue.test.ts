import PO from "pofile";
import { describe, expect, it } from "vitest";
import german from "../locales/de.po?raw";

/* The build adds what the sources say and the catalogue lacks, without a translation, and drops what they do not say. */
const catalogue = PO.parse(german);
const said = catalogue.items.map((item) => [item.msgid, item] as const);

/** What a sentence has in place of what is known later: values, elements, a number. */
function places(sentence: string): string[] {
  return (sentence.match(/\{\d+\}|<\/?\d+\/?>|#(?= )/g) ?? []).sort();
}

/** Blanks before and after: sentences are joined at them. */
const edges = (sentence: string) => `${/^ */.exec(sentence)}|${/ *$/.exec(sentence)}`;

describe("the German catalogue", () => {
  it("has the words of the pages", () => expect(said.length).toBeGreaterThan(1500));

  it("translates all of them", () => {
    expect(said.filter(([, item]) => !item.msgstr.every(Boolean)).map(([words]) => words)).toEqual([]);
  });

  it("keeps what stands for values, elements and numbers, and blanks at the edges", () => {
    const wrong = said.filter(([words, item]) =>
      item.msgstr.some((translated, form) => {
        const source = form === 0 ? words : (item.msgid_plural ?? words);
        return places(translated).join() !== places(source).join() || edges(translated) !== edges(words);
      }),
    );
    expect(wrong.map(([words, item]) => [words, ...item.msgstr])).toEqual([]);
  });
});
