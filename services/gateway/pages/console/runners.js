// The fleet at this moment: figures, and each runner with its slots.

import { element, say, showEach } from "/console/elements.js";
import { age } from "/console/times.js";

const SHOWN = 200;

/** The figures: of the fleet from its picture, of the queue from the sessions. */
export function showNow(list, picture, sessions, now) {
  const live = [...sessions.live.values()];
  const queued = live.filter((session) => session.status === "queued");
  const oldest = queued.reduce((least, session) => Math.min(least, session.queued), now);
  const figures = [
    ["In their rooms", live.filter((session) => session.status === "running").length],
    ["Starting", live.filter((session) => session.status === "starting").length],
    ["Queued", queued.length],
    ["The oldest waits", queued.length ? age(now - oldest) : "–"],
    ["Runners", picture.runners.length],
    ["Slots", picture.slots],
    ["Busy", picture.busy],
    ["Free", picture.free],
  ];
  showEach(list, figures, {
    key: ([name]) => name,
    make: ([name]) => element("div", { "data-name": name }, element("dt", {}, name), element("dd")),
    show: (node, [, value]) => say(node.lastElementChild, String(value)),
  });
}

/** The runners; `choose` is called with the name of the one whose sessions are wanted. */
export function showRunners(list, picture, choose) {
  const more = picture.runners.length - SHOWN;
  const rows = picture.runners.slice(0, SHOWN);
  showEach(list, more > 0 ? [...rows, { runner: "", more }] : rows, {
    key: (one) => one.runner,
    make: (one) => (one.runner ? card(one, choose) : element("li")),
    show: (node, one) => (one.runner ? showRunner(node, one) : say(node, `and ${more} more`)),
  });
}

function card(one, choose) {
  const name = element("button", { type: "button", class: "link", click: () => choose(one.runner) }, one.runner);
  return element("li", {}, name, element("span", { class: "slots", role: "img" }), element("p"), element("p", { class: "error" }));
}

function showRunner(node, one) {
  const [, slots, about, error] = node.children;
  const starting = Math.max(one.busy - one.running, 0);
  const unready = Math.max(one.slots - one.busy - one.free, 0);
  slots.setAttribute(
    "aria-label",
    `${one.slots} slots: ${one.running} in a room, ${starting} starting or leaving, ${one.free} free, ${unready} not ready`,
  );
  const squares = [
    ...Array(one.running).fill("running"),
    ...Array(starting).fill("busy"),
    ...Array(one.free).fill("free"),
    ...Array(unready).fill("not-ready"),
  ];
  showEach(slots, [...squares.entries()], {
    key: ([index]) => String(index),
    make: () => element("span"),
    show: (square, [, kind]) => (square.className = `slot ${kind}`),
  });
  node.className = one.state;
  const agents = one.agents.map((agent) => agent || "default").join(", ");
  say(about, `${one.state}, ${one.start}; ${one.host}; ${agents}; ${one.version}`);
  say(error, one.error);
}
