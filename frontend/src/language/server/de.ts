/** All that the server can say, in German: one catalogue, whose files follow the subjects of the code. */
import api from "./api.de.json";
import benchmarks from "./benchmarks.de.json";
import engines from "./engines.de.json";
import framework from "./framework.de.json";
import gateway from "./gateway.de.json";
import lifecycle from "./lifecycle.de.json";
import machine from "./machine.de.json";
import memory from "./memory.de.json";
import models from "./models.de.json";
import options from "./options.de.json";
import policy from "./policy.de.json";
import why from "./why.de.json";
import windows from "./windows.de.json";
import words from "./words.de.json";
import type { Catalogue } from "../told";

export const german: Catalogue = {
  ...words,
  ...framework,
  ...machine,
  ...models,
  ...engines,
  ...lifecycle,
  ...memory,
  ...policy,
  ...windows,
  ...why,
  ...gateway,
  ...benchmarks,
  ...options,
  ...api,
};
