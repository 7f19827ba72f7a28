import { svelte } from "@sveltejs/vite-plugin-svelte";
import { wuchale } from "wuchale/vite";
import { defineConfig } from "vitest/config";

export default defineConfig(({ mode }) => ({
  base: "/static/",
  // Tests read the sources, which are English.
  plugins: [svelte(), mode !== "test" && wuchale()],
  build: { outDir: "dist", emptyOutDir: true, manifest: true, assetsInlineLimit: 0, target: "es2022" },
  server: {
    proxy: {
      "/api": "http://127.0.0.1:8000",
      "/admin": "http://127.0.0.1:8000",
      "/ws": { target: "ws://127.0.0.1:8000", ws: true },
    },
  },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
}));
