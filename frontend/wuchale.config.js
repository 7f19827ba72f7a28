/** Which words of the sources are for people, and have a line in every catalogue of src/locales. */
import { adapter as svelte } from "@wuchale/svelte";
import { defineConfig } from "wuchale";
import { adapter as modules } from "wuchale/adapter-vanilla";

/* Attributes and properties of components that somebody reads or hears. */
const READ = new Set(
  [
    "title",
    "label",
    "aria-label",
    "data-label",
    "hint",
    "about",
    "placeholder",
    "alt",
    "text",
    "action",
    "what",
  ].concat(["word", "heading", "empty", "note"]),
);

/* Not words: keys of the keyboard, headers, units, styles, selectors, shapes, shell. */
const NO_WORDS = [
  /^(Escape|Enter|Tab|PageUp|PageDown|Arrow\w+|[KMGTP]iB|UTC|X-[\w-]+|Content-Type.*|HF_\w+|hf_…)$/,
  /^[a-z]+(-[a-z]+)+( [a-z]+(-[a-z]+)+)*$/,
  /^(--|-\w |curl |\(prefers-|light-dark\(|translate\(|repeat\()/,
  /^[.#:a-z\s,[\]=()"-]*(:is\(|:not\(|\[aria-|h1$|button$)/,
  /^M\d/,
];

function isRead({ msgStr, details: { scope, element, attribute, call } }) {
  const whole = msgStr.join("\n");
  const text = whole.trim();
  if (!/\p{Ll}|\p{L} /u.test(text) || NO_WORDS.some((pattern) => pattern.test(text))) return false;
  if (["style", "path", "code", "pre"].includes(element)) return false;
  if (scope === "markup") return "message";
  if (scope === "attribute" && !READ.has(attribute)) return false;
  if (call === "word" || (scope === "attribute" && attribute !== "what")) return "message";
  return whole.includes(" ") || /^\P{L}*\p{Lu}/u.test(text) ? "message" : false;
}

/*
 * A language is chosen before any of these is loaded, and another one reloads the page: nothing needs to react. In
 * modules, `_w_load_` is what the loader's `getRuntime` is imported as: asking it wherever there are words lets constants
 * of a module be words too.
 */
const wrapUse = () => "_w_load_()";
const inModules = { initReactive: () => null, useReactive: false, plain: { wrapInit: (code) => code, wrapUse } };
const inComponents = { initReactive: ({ nested }) => (nested ? null : false), useReactive: false };

export default defineConfig({
  locales: ["en", "de"],
  ai: null,
  logLevel: "warn",
  adapters: {
    js: modules({
      files: {
        include: "src/**/*.ts",
        ignore: ["**/*.d.ts", "**/*.test.ts", "**/*.fake.ts", "src/main.ts", "src/language/**"],
      },
      heuristic: isRead,
      loader: "custom",
      runtime: inModules,
    }),
    main: svelte({ files: "src/**/*.svelte", heuristic: isRead, loader: "custom", runtime: inComponents }),
  },
});
