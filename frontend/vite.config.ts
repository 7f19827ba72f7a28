import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

const web = process.env.SARDEENZ_WEB ?? "http://127.0.0.1:8000";

export default defineConfig({
  base: "/static/",
  plugins: [svelte()],
  build: { outDir: "dist", emptyOutDir: true, assetsInlineLimit: 0, target: "es2022" },
  server: { proxy: { "/api": web, "/admin": web, "/ws": { target: web, ws: true } } },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
