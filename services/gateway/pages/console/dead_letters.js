// Launches that were given up, and how to have one tried again.
//
// No event tells of a dead letter itself. The end of a session that failed, and the beginning of one that takes a dead
// letter's place, say when there is something else to see.

import { deadLetters, redrive } from "/console/api.js";
import { element, say, showEach } from "/console/elements.js";

const PAUSE_MS = 1000;
/** How many the gateway lists. */
const LISTED = 100;

export class DeadLetters {
  #letters = [];
  #due = false;
  #looking = false;
  #list = document.getElementById("dead");
  #said = document.getElementById("dead-said");

  /** @param {(sessionId: string) => void} open shows the session that a redriven letter became */
  constructor(open) {
    this.open = open;
  }

  take(event) {
    if (event.type === "failed" || event.redriven_from) this.look();
  }

  /** Look now; and once more, a while later, if there was reason to meanwhile. */
  async look() {
    this.#due = true;
    if (this.#looking) return;
    this.#looking = true;
    while (this.#due) {
      this.#due = false;
      try {
        this.#letters = await deadLetters();
        this.#show();
      } catch (error) {
        say(this.#said, error.message);
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    this.#looking = false;
  }

  #show() {
    showEach(this.#list, this.#letters, {
      key: (letter) => letter.id,
      make: (letter) => this.#item(letter),
    });
    const count = this.#letters.length;
    say(document.getElementById("dead-title"), `Dead letters (${count < LISTED ? count : `the newest ${count}`})`);
  }

  #item(letter) {
    if (letter.unreadable) return element("li", {}, element("p", {}, `${letter.at}: nobody can read this one.`));
    const why = letter.failures.map((one) => element("li", {}, `attempt ${one.attempt}: ${one.reason} ${one.message}`));
    const attempts = letter.attempts === 1 ? "1 attempt" : `${letter.attempts} attempts`;
    const again = element("button", { type: "button", click: () => this.#redrive(letter) }, "Redrive");
    again.setAttribute("aria-label", `Redrive ${letter.session_id}`);
    return element(
      "li",
      {},
      element("p", {}, element("strong", {}, letter.reason ?? "given up"), ` ${letter.session_id} in ${letter.room_url}`),
      element("details", {}, element("summary", {}, `${attempts}, ${letter.at}`), element("ol", {}, ...why)),
      again,
    );
  }

  async #redrive(letter) {
    try {
      const joined = await redrive(letter.id);
      say(this.#said, `${letter.session_id} goes on as ${joined.session_id}.`);
      this.open(joined.session_id);
    } catch (error) {
      say(this.#said, error.message);
    }
    this.look();
  }
}
