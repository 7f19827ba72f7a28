import { mount } from "svelte";
import App from "./App.svelte";
import { language } from "./language/language";
import { learn } from "./language/told";
import "./app.css";
import "./row-list.css";

document.documentElement.lang = language;

// Before the first request. Without it, the pages are there and the server's sentences stay in English.
if (language === "de")
  await import("./language/server/de").then(
    ({ german }) => learn(german, "und"),
    () => undefined,
  );

const target = document.getElementById("app");
if (target === null) throw new Error("index.html has no #app");
mount(App, { target });
