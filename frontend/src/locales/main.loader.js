/* Components have the same words as modules. */
export { getRuntime, getRuntimeRx } from "./js.loader.js";
