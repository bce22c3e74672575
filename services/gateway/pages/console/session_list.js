// The list of sessions, as much of it as anybody can look at.

import { element, say, showEach } from "/console/elements.js";
import { age } from "/console/times.js";
import { bar, showBar } from "/console/timeline.js";

const SHOWN = 200;

/**
 * Show those sessions that the filter lets through: live ones first, each kind newest first.
 * @param {{body: Element, output: Element, filter: string, over: boolean, chosen: string}} view
 * @param {(id: string) => void} open called with the one that was chosen
 */
export function showSessions(view, sessions, now, open) {
  const found = [];
  let matching = 0;
  for (const some of view.over ? [sessions.live, sessions.over] : [sessions.live]) {
    for (const session of [...some.values()].reverse()) {
      if (!matches(session, view.filter)) continue;
      matching += 1;
      if (found.length < SHOWN) found.push(session);
    }
  }
  say(view.output, matching > found.length ? `showing ${found.length} of ${matching}` : `${matching} shown`);
  showEach(view.body, found, {
    key: (session) => session.id,
    make: (session) => row(session, open),
    show: (node, session) => showRow(node, session, now, session.id === view.chosen),
  });
}

/** Whether a session has all the words of the filter somewhere. */
export function matches(session, filter) {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return true;
  const labels = Object.entries(session.labels).map((pair) => pair.join(":"));
  const parts = [session.id, session.status, session.room_url, session.transport, session.agent, session.runner];
  const text = [...parts, session.reason, ...labels].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

/** What a session is, in a word or two. */
export function stateOf(session) {
  if (session.leaving) return `${session.status}, leaving`;
  return session.reason ? `${session.status}: ${session.reason}` : session.status;
}

function row(session, open) {
  const name = element("button", { type: "button", class: "link id", click: () => open(session.id) }, session.id);
  const cells = Array.from({ length: 5 }, () => element("td"));
  return element("tr", {}, element("th", { scope: "row" }, name), ...cells, element("td", {}, bar()));
}

function showRow(node, session, now, chosen) {
  const [, state, attempt, room, runner, since, way] = node.children;
  node.className = chosen ? `${session.status} chosen` : session.status;
  say(state, stateOf(session));
  say(attempt, String(session.attempt));
  say(room, session.agent ? `${session.room_url} → ${session.agent}` : session.room_url);
  room.title = labels(session);
  say(runner, session.runner && `${session.runner}${session.start === "cold" ? " (cold)" : ""}`);
  say(since, age((session.ended || now) - session.created));
  showBar(way.firstElementChild, session, now);
}

/** The labels, as text. */
export function labels(session) {
  return Object.entries(session.labels)
    .map(([name, value]) => `${name}:${value}`)
    .join(", ");
}
