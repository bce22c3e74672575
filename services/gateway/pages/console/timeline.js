// A session's way: as a bar in the list, and as a list of its events.

import { element, say, shape, showEach } from "/console/elements.js";
import { clock, duration } from "/console/times.js";

const WIDTH = 180;
const HEIGHT = 12;
const LEAST = 3;
const ENDS = new Set(["ended", "failed"]);
const TOLD = new Set(["type", "at", "attempt"]);

/** An empty bar, for `showBar`. */
export function bar() {
  return shape("svg", { class: "bar", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", preserveAspectRatio: "none" });
}

/** Draw a session's way from its beginning until now, or to its end. */
export function showBar(svg, session, now) {
  const parts = stretches(session, now);
  const words = parts.map((part) => `${part.what} ${duration(part.ms)}${part.lost ? `, then ${part.lost}` : ""}`);
  if (session.ended) words.push(`${session.status}: ${session.reason}`);
  svg.setAttribute("aria-label", words.join("; "));
  const whole = parts.reduce((sum, part) => sum + part.ms, 0) || 1;
  const room = WIDTH - LEAST * (parts.length + 1);
  let x = 0;
  const shapes = [];
  for (const part of parts) {
    const width = LEAST + Math.max((room * part.ms) / whole, 0);
    shapes.push(shape("rect", { class: part.what, x, y: 0, width, height: HEIGHT }));
    x += width;
    if (part.lost) shapes.push(shape("rect", { class: "lost", x: x - 1, y: 0, width: 2, height: HEIGHT }));
  }
  if (session.ended) shapes.push(shape("rect", { class: session.status, x, y: 0, width: LEAST, height: HEIGHT }));
  svg.replaceChildren(...shapes);
}

/** How long a session was what, in order; `lost` says why an attempt came to its end. */
function stretches(session, now) {
  const steps = session.phases.filter((phase) => !ENDS.has(phase.what));
  if (steps[0]?.at !== session.created) {
    // It began before what is known of it.
    steps.unshift({ at: session.created, what: steps.length ? "unknown" : session.status, attempt: 1, reason: "" });
  }
  return steps.map((step, index) => {
    const next = steps[index + 1];
    const until = next?.at ?? (session.ended || now);
    return { what: step.what, ms: Math.max(until - step.at, 0), lost: next?.what === "queued" ? next.reason : "" };
  });
}

/** Show all events of one session: when, what, and what else each says. */
export function showEvents(list, events) {
  const begun = events.length ? Date.parse(events[0].at) : 0;
  showEach(list, events, {
    key: eventKey,
    make: () => element("li", {}, element("time"), element("strong"), element("span")),
    show: (node, event) => {
      const [time, what, more] = node.children;
      time.dateTime = event.at;
      say(time, `${clock(Date.parse(event.at))} (+${duration(Date.parse(event.at) - begun)})`);
      node.className = event.type;
      say(what, event.type);
      say(more, `attempt ${event.attempt}${details(event)}`);
    },
  });
}

/** What tells one event of a session from another one. */
export function eventKey(event) {
  return [event.at, event.type, event.attempt, event.command_id ?? event.stage ?? ""].join("|");
}

function details(event) {
  const told = Object.entries(event).filter(([name, value]) => !TOLD.has(name) && value !== null && value !== "");
  const shown = told.filter(([, value]) => typeof value !== "object" || Object.keys(value).length);
  return shown.map(([name, value]) => `; ${name} ${typeof value === "object" ? JSON.stringify(value) : value}`).join("");
}
