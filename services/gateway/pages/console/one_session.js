// One session, whole: what it is, its timeline, and what can be done with it.

import { leave, oneSession } from "/console/api.js";
import { element, say, showEach } from "/console/elements.js";
import { labels, stateOf } from "/console/session_list.js";
import { eventKey, showEvents } from "/console/timeline.js";

const EVENTS_KEPT = 1000;

export class OneSession {
  /** The id of the one that is shown; empty: none. */
  id = "";
  #events = [];
  #panel = document.getElementById("session");
  #said = document.getElementById("session-said");
  #back = null;

  /** @param {{command: (id: string) => void, changed: () => void}} page */
  constructor(page) {
    const button = (name, act) => document.getElementById(`session-${name}`).addEventListener("click", act);
    button("close", () => this.close());
    button("command", () => page.command(this.id));
    button("leave", () => this.#leave());
    this.#panel.addEventListener("keydown", (key) => key.key === "Escape" && this.close());
    this.changed = page.changed;
  }

  /** Show this one, and go there. Its older events are asked for; what comes is added. */
  async open(id) {
    this.#back = document.activeElement;
    this.id = id;
    this.#events = [];
    say(this.#said, "");
    this.#panel.hidden = false;
    say(document.getElementById("session-title"), `Session ${id}`);
    document.getElementById("session-title").focus();
    this.changed();
    try {
      const { timeline } = await oneSession(id);
      if (this.id !== id) return;
      const known = new Set(timeline.map(eventKey));
      this.#events = [...timeline, ...this.#events.filter((event) => !known.has(eventKey(event)))];
    } catch (error) {
      say(this.#said, error.message);
    }
    this.changed();
  }

  /** Go back to where it was opened from. */
  close() {
    this.id = "";
    this.#panel.hidden = true;
    if (this.#back?.isConnected) this.#back.focus();
    else document.getElementById("sessions").focus();
    this.changed();
  }

  take({ session_id, ...event }) {
    if (session_id !== this.id) return;
    this.#events.push(event);
    if (this.#events.length > EVENTS_KEPT) this.#events.splice(1, 1);
  }

  show(sessions) {
    if (!this.id) return;
    const session = sessions.find(this.id);
    showEvents(document.getElementById("session-timeline"), this.#events);
    document.getElementById("session-leave").disabled = !session || session.ended > 0;
    const facts = session
      ? [
          ["State", stateOf(session)],
          ["Message", session.message],
          ["Room", session.room_url],
          ["Transport", session.transport],
          ["Agent", session.agent || "the default one"],
          ["Runner", session.runner],
          ["Labels", labels(session)],
        ]
      : [["State", "nothing was heard of it"]];
    showEach(document.getElementById("session-facts"), facts.filter(([, value]) => value), {
      key: ([name]) => name,
      make: ([name]) => element("div", {}, element("dt", {}, name), element("dd")),
      show: (node, [, value]) => say(node.lastElementChild, value),
    });
  }

  async #leave() {
    try {
      await leave(this.id);
      say(this.#said, "It was told to leave.");
    } catch (error) {
      say(this.#said, error.message);
    }
  }
}
