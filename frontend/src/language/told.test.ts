import { describe, expect, it } from "vitest";
import { german } from "./server/de";
import { Teller } from "./told";

describe("a teller", () => {
  const teller = new Teller(
    {
      "{0} waits for {1}": "{0} wartet auf {1}",
      "{0} waits for its turn on {1}": "{0} wartet, bis es auf {1} an der Reihe ist",
      "the model `{0}` is {1}": "Zustand von `{0}`: {1}",
      "{0} of {1} are free": "von {1} sind {0} frei",
      "took {0} s": "dauerte {0} s",
      "out of memory[: {size} more][, {free} free].": "kein Speicher[: {size} mehr][, {free} frei].",
      "ended {0}{1}": "endete {0}{1}",
      "; it wrote nothing": "; es schrieb nichts",
      "is to sleep": "soll schlafen",
      "KV cap": "KV-Obergrenze",
      ready: "bereit",
      pinned: "angeheftet",
      room: "Platz",
    },
    "und",
  );

  it.each([
    [
      "what fits with the most literal text",
      "chat waits for its turn on n/0",
      "chat wartet, bis es auf n/0 an der Reihe ist",
    ],
    ["what is put in, by the same rules", "chat waits for room", "chat wartet auf Platz"],
    ["names as they are", "the model `ready` is ready", "Zustand von `ready`: bereit"],
    ["in the other language's order, with its comma", "1.5 GiB of 80 GiB are free", "von 80 GiB sind 1,5 GiB frei"],
    ["a figure by the unit behind it", "took 0.5 s", "dauerte 0,5 s"],
    ["a version as it is", "chat waits for 0.17", "chat wartet auf 0.17"],
    ["parts that may be absent", "out of memory, 2 GiB free.", "kein Speicher, 2 GiB frei."],
    ["none of them", "out of memory.", "kein Speicher."],
    ["holes that touch", "ended late; it wrote nothing", "endete late; es schrieb nichts"],
    ["a name and what it does", "chat/1 is to sleep", "chat/1 soll schlafen"],
    ["words and their figure", "KV cap 4 GiB, ready", "KV-Obergrenze 4 GiB, bereit"],
    ["a list with remarks", "chat waits for `a` (pinned) and b", "chat wartet auf `a` (angeheftet) und b"],
    ["several sentences, written large", "Room. The model `a` is ready.", "Platz. Zustand von `a`: bereit."],
    ["what is known beside what is not", "Quite new words; ready", "Quite new words; bereit"],
  ])("tells %s", (_, english, expected) => {
    expect(teller.tell(english)).toBe(expected);
  });

  it("leaves what it does not know as it is", () => {
    for (const text of ["", "chat", "Something else happened here.", "lists, of unknown, words"])
      expect(teller.tell(text)).toBe(text);
  });
});

describe("the German of the server", () => {
  const teller = new Teller(german, "und");

  it("puts whole answers together", () => {
    const why =
      "Waited 2.5 s: 2.5 s for `chat` to be ready: chat/1 was asleep since 12:00:00 UTC; chat/2 was put to sleep first " +
      "(0.8 s), for it was idle, ready for 40 s of at least 5 s; chat/1 woke in 1.2 s. Replica 3 took 0.8 s until its " +
      "first token, alone there. The call was answered after 3.3 s.";
    expect(teller.tell(why)).toBe(
      "Gewartet: 2,5 s; 2,5 s, bis `chat` bereit war: chat/1 schlief seit 12:00:00 UTC; chat/2 wurde zuerst schlafen " +
        "gelegt (0,8 s), denn es war untätig, seit 40 s bereit, von mindestens 5 s; chat/1 wachte auf in 1,2 s. Das " +
        "Replikat 3 brauchte 0,8 s bis zum ersten Token, dort allein. Der Aufruf wurde beantwortet nach 3,3 s.",
    );
    const step = "A new replica of chat loads on GPU 0 of n and GPU 1 of n, for a time that was never measured.";
    expect(teller.tell(step)).toBe(
      "Ein neues Replikat von chat lädt auf GPU 0 von n und GPU 1 von n, für eine Zeit, die nie gemessen wurde.",
    );
    const cordon =
      "GPU 0 of n is cordoned by admin (new driver) and takes nothing new; `sardeenz gpu uncordon n/0` ends that";
    expect(teller.tell(cordon)).toBe(
      "die GPU 0 von n ist gesperrt von admin (new driver) und nimmt nichts Neues auf; `sardeenz gpu uncordon n/0` " +
        "beendet das",
    );
  });

  it.each([
    ["chat/1 has loaded and is ready", "chat/1 hat geladen und ist bereit"],
    [
      "chat/1 is to be ready: the window night asks for it",
      "chat/1 soll bereit sein: das Zeitfenster night verlangt es",
    ],
    [
      "name: a deployment answers to 'chat'; choose another name; end: it is missing",
      "Name: ein Deployment antwortet auf 'chat'; wählen Sie einen anderen Namen; Ende: fehlt",
    ],
    ["Sun 21:00 to Mon 08:00 CET", "So 21:00 bis Mo 08:00 CET"],
    [
      "may sleep: yes -> no; requests at once: 8 -> none",
      "darf schlafen: ja -> nein; gleichzeitige Anfragen: 8 -> keine",
    ],
    ["adapters (--enable-lora) at sleep level 1: it broke", "Adapter (--enable-lora) im Schlaf auf Stufe 1: it broke"],
    ["chat/1 moves (new driver); chat/1 stays: it broke.", "chat/1 moves (new driver); chat/1 bleibt: it broke."],
    [
      "chat/7 has no engine any more: Its engine ended when Sardeenz was stopped; it loads again",
      "chat/7 hat keine Engine mehr: Seine Engine endete, als Sardeenz gestoppt wurde; es lädt wieder",
    ],
    [
      "GPU 0 of n is cordoned (new fan) and takes nothing new",
      "GPU 0 von n ist gesperrt (new fan) und nimmt nichts Neues auf",
    ],
    ["chat/1 wakes on GPU 0 of n, for about 3.0 s.", "chat/1 erwacht auf GPU 0 von n, für etwa 3,0 s."],
    ["there is no API key 17", "es gibt keinen API-Schlüssel 17"],
    [
      "cron: the day of month is not one: 1 to 31, L for the last, in a month that has it in '0 0 30 2 *'",
      "Cron-Ausdruck: das Feld „Tag des Monats“ stimmt nicht: 1 bis 31, L für den letzten, in einem Monat, der ihn hat in " +
        "'0 0 30 2 *'",
    ],
    ["RuntimeError: it broke. The engine's log tells more.", "RuntimeError: it broke. Das Log der Engine sagt mehr."],
    ["update of chat was refused: it broke", "Die Änderung von chat wurde abgelehnt: it broke"],
  ])("tells %s", (english, expected) => {
    expect(teller.tell(english)).toBe(expected);
  });

  it("knows every whole sentence by itself, with a capital and a full stop too", () => {
    const whole = Object.entries(german).filter(([english]) => /^[a-z][^{[.;:]*$/.test(english));
    const upper = (text: string) => text.slice(0, 1).toUpperCase() + text.slice(1);
    for (const [english, translation] of whole)
      expect(teller.tell(`${upper(english)}.`)).toBe(`${upper(translation)}.`);
  });
});
