import { mount } from "svelte";
import App from "./App.svelte";
import { language } from "./language/language";
import "./app.css";
import "./row-list.css";

document.documentElement.lang = language;

const target = document.getElementById("app");
if (target === null) throw new Error("index.html has no #app");
mount(App, { target });
