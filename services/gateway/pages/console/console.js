// The console: the live fleet, from the gateway's events.
//
// It begins with what the gateway says of now, reads the last hour's events after that, and from then on follows them.
// Nothing is asked for again but when an event, or somebody at the page, gives reason to.

import { Refused, ask, hasKey, liveSessions, useKey } from "/console/api.js";
import { DeadLetters } from "/console/dead_letters.js";
import { element, say, showEach } from "/console/elements.js";
import { backOff, follow, newestPlace, notBefore } from "/console/events.js";
import { commandForm, keyForm, startForm } from "/console/forms.js";
import { LastHour } from "/console/last_hour.js";
import { OneSession } from "/console/one_session.js";
import { plots } from "/console/plots.js";
import { showNow, showRunners } from "/console/runners.js";
import { showSessions } from "/console/session_list.js";
import { Sessions } from "/console/sessions.js";
import { serverNow } from "/console/times.js";

const HOUR_MS = 3_600_000;
const SHOW_EVERY_MS = 200;
const AGES_EVERY_MS = 1000;

const byId = (id) => document.getElementById(id);

const sessions = new Sessions();
const hour = new LastHour();
let picture = { runners: [], slots: 0, busy: 0, free: 0 };
let due = false;

const one = new OneSession({ command: commandForm(sessions), changed });
const open = (id) => one.open(id);
const dead = new DeadLetters(open);
const showHour = plots(byId("plots"));
const [filter, over] = byId("filter").querySelectorAll("input");
startForm(open);

/** Have the page drawn soon, once for however much has changed. */
function changed() {
  if (due) return;
  due = true;
  setTimeout(show, SHOW_EVERY_MS);
}

function show() {
  due = false;
  if (document.hidden) return;
  const now = serverNow();
  showNow(byId("now"), picture, sessions, now);
  showRunners(byId("runners"), picture, showOnly);
  showHour(hour.minutes(now));
  const view = { body: byId("rows"), output: byId("shown"), filter: filter.value, over: over.checked, chosen: one.id };
  showSessions(view, sessions, now, open);
  one.show(sessions);
  showAgents([...new Set(picture.runners.flatMap((runner) => runner.agents))].sort());
}

function showOnly(text) {
  filter.value = text;
  filter.focus();
  changed();
}

function showAgents(agents) {
  const talk = (agent) => (agent ? `/client/?agent=${encodeURIComponent(agent)}` : "/client/");
  showEach(byId("talk"), agents.length ? agents : [""], {
    key: (agent) => agent,
    make: (agent) => element("a", { href: talk(agent) }, agent ? `Talk to ${agent}` : "Talk to a bot"),
  });
  showEach(byId("agents"), agents.filter(Boolean), {
    key: (agent) => agent,
    make: (agent) => element("option", { value: agent }),
  });
}

function showConnection(text, live) {
  say(byId("connection"), text);
  document.body.classList.toggle("stale", !live);
}

const listener = {
  connected: () => showConnection("Live", true),
  lost: () => showConnection("Disconnected: what is shown may be old. Trying again…", false),
  take: (type, data) => {
    if (type === "fleet") picture = data;
    else if (type === "gap") afterGap();
    else {
      hour.take(data, sessions.take(data));
      one.take(data);
      dead.take(data);
    }
    changed();
  },
};

/** See which sessions live; those that were thought to and do not have ended unheard. */
async function lookAgain() {
  const before = [...sessions.live.keys()];
  const listed = await liveSessions();
  const live = new Set(listed.map((session) => session.session_id));
  sessions.forget(before.filter((id) => !live.has(id)));
  sessions.seed(listed);
  changed();
}

/** Events are lost: what they said is seen in what is there now. */
async function afterGap() {
  for (let failures = 0; ; failures += 1) {
    try {
      await lookAgain();
      return;
    } catch (error) {
      if (error instanceof Refused && error.wantsKey) return;
      await backOff(failures);
    }
  }
}

/** Begin, and follow until another key is needed. */
async function run() {
  picture = await (await ask("/fleet")).json();
  const newest = await newestPlace();
  await lookAgain();
  dead.look();
  byId("fleet").hidden = false;
  showConnection("Reading the last hour…", true);
  await follow(notBefore(newest, serverNow() - HOUR_MS), newest, listener);
}

const askForKey = keyForm((key) => {
  useKey(key);
  begin();
});

async function begin() {
  for (let failures = 0; ; failures += 1) {
    try {
      await run();
    } catch (error) {
      if (error instanceof Refused && error.wantsKey) {
        showConnection("A key is needed.", false);
        askForKey(hasKey() ? error.message : "");
        return;
      }
      listener.lost();
      await backOff(failures);
    }
  }
}

filter.addEventListener("input", changed);
over.addEventListener("change", changed);
byId("filter").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("visibilitychange", changed);
setInterval(changed, AGES_EVERY_MS);
begin();
