/* The words of the page's language. Whatever has words waits for them, constants too. */
import toRuntime from "wuchale/runtime";
import { language } from "../language/language";
import { loadCatalog } from "./.wuchale/js.proxy.js";

const words = toRuntime(await loadCatalog("js", language), language);

export const getRuntime = () => words;
export const getRuntimeRx = getRuntime;
