import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

// The gateway that `npm run dev` talks to; the shipped page only ever talks to where it came from.
const gateway = process.env.TIDEGATE ?? "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [svelte()],
  server: { proxy: { "/api": { target: gateway, changeOrigin: true, secure: false } } },
  build: {
    target: "es2022",
    // Nothing as a data: URL, so that the policy can stay as strict as it is.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
    sourcemap: false,
    // Small parts travel with those that use them: together they compress better than alone.
    rollupOptions: { output: { experimentalMinChunkSize: 12_000 } },
  },
  test: { include: ["test/**/*.test.ts"] },
} as import("vite").UserConfig);
