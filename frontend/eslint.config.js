import js from "@eslint/js";
import svelte from "eslint-plugin-svelte";
import globals from "globals";
import ts from "typescript-eslint";
import svelteConfig from "./svelte.config.js";

export default ts.config(
  { ignores: ["dist/", "src/api/schema.d.ts", "src/locales/.wuchale/"] },
  js.configs.recommended,
  ts.configs.strict,
  svelte.configs.recommended,
  svelte.configs.prettier,
  {
    languageOptions: { globals: globals.browser },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: { "@typescript-eslint/no-unused-vars": ["error", { ignoreRestSiblings: true }] },
  },
  {
    files: ["**/*.svelte", "**/*.svelte.ts"],
    languageOptions: { parserOptions: { parser: ts.parser, extraFileExtensions: [".svelte"], svelteConfig } },
    rules: {
      // Svelte drops a space at the edge of an element; {" · "} keeps it.
      "svelte/no-useless-mustaches": "off",
    },
  },
  {
    files: ["src/{api,lib,live,stores,ui}/**"],
    rules: {
      "no-restricted-imports": [
        "error",
        { patterns: [{ regex: "/(pages|shell|deploy)/", message: "It serves every page and knows none." }] },
      ],
    },
  },
);
