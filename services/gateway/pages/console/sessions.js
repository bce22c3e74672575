// What the sessions are: the fold of their events, as the gateway has it (services/gateway/sessions.py).
//
// Events may be of a time before the list that this began with. So a session's state only ever goes on: to a later
// attempt, or within one from queued to starting to running to its end.

const OVER_KEPT = 500;
const PHASES_KEPT = 40;
const STEP = { queued: 0, starting: 1, running: 2 };
const ENDING = new Set(["left", "max_duration", "no_client"]);

/**
 * @typedef {{at: number, what: string, attempt: number, reason: string}} Phase
 * @typedef {object} Session
 * @property {string} id
 * @property {string} status
 * @property {number} attempt
 * @property {boolean} leaving
 * @property {string} reason
 * @property {string} message
 * @property {string} runner
 * @property {string} start
 * @property {string} room_url
 * @property {string} transport
 * @property {string} agent
 * @property {Record<string, string>} labels
 * @property {number} created when it was accepted, in milliseconds
 * @property {number} queued when its current attempt began to wait
 * @property {number} ended 0 while it is live
 * @property {Phase[]} phases how it came here, as far as that is known
 */

export class Sessions {
  /** @type {Map<string, Session>} in the order in which they were accepted */
  live = new Map();
  /** @type {Map<string, Session>} the newest that are over, in the order in which they ended */
  over = new Map();

  /** @returns {Session | undefined} */
  find(id) {
    return this.live.get(id) ?? this.over.get(id);
  }

  /** Begin with, or go on with, the gateway's list of live sessions. */
  seed(listed) {
    for (const view of listed.toSorted((one, other) => (one.created_at < other.created_at ? -1 : 1))) {
      const known = this.find(view.session_id);
      if (known && rank(known.attempt, known.status) >= rank(view.attempt, view.status)) continue;
      this.live.set(view.session_id, { ...fromView(view), phases: known?.phases ?? [] });
    }
  }

  /** Forget these of the live ones: they are over, and the event that said so is lost. */
  forget(ids) {
    for (const id of ids) this.live.delete(id);
  }

  /** Take an event; gives its session, where that is known. */
  take(event) {
    const at = Date.parse(event.at);
    if (event.type === "queued" && !this.find(event.session_id)) this.live.set(event.session_id, fromQueued(event, at));
    const session = this.find(event.session_id);
    if (!session) return undefined;
    addPhase(session, event, at);
    if (event.type === "ended" || event.type === "failed") this.#end(session, event, at);
    else if (!session.ended) change(session, event, at);
    return session;
  }

  #end(session, event, at) {
    Object.assign(session, { status: event.type, ended: at, leaving: false });
    Object.assign(session, { reason: event.reason, message: event.message ?? "" });
    this.live.delete(session.id);
    this.over.set(session.id, session);
    if (this.over.size > OVER_KEPT) this.over.delete(this.over.keys().next().value);
  }
}

function change(session, event, at) {
  const current = event.attempt === session.attempt;
  if (event.type === "leaving" && current) session.leaving = ENDING.has(event.reason);
  if (event.type === "cold_start" && event.error && session.status === "queued") session.message = event.error;
  if (!(event.type in STEP) || rank(event.attempt, event.type) < rank(session.attempt, session.status)) return;
  session.status = event.type;
  session.attempt = event.attempt;
  if (event.type === "queued") {
    Object.assign(session, { queued: at, leaving: false, runner: "", start: "" });
    Object.assign(session, { reason: event.reason ?? "", message: event.message ?? "" });
  } else if (event.type === "starting") {
    Object.assign(session, { runner: event.runner, start: event.start, reason: "", message: "" });
  }
}

function rank(attempt, status) {
  return attempt * 10 + (STEP[status] ?? Infinity);
}

function addPhase(session, event, at) {
  if (event.type === "command" || event.type === "cold_start" || event.type === "leaving") return;
  const phase = { at, what: event.type, attempt: event.attempt, reason: event.reason ?? "" };
  const known = session.phases.some((one) => one.at === at && one.what === phase.what && one.attempt === phase.attempt);
  if (known) return;
  session.phases.push(phase);
  if (session.phases.length > PHASES_KEPT) session.phases.splice(1, 1);
}

/** @returns {Session} */
function fromQueued(event, at) {
  return {
    id: event.session_id,
    status: "queued",
    attempt: event.attempt,
    leaving: false,
    reason: event.reason ?? "",
    message: event.message ?? "",
    runner: "",
    start: "",
    room_url: event.room_url,
    transport: event.transport,
    agent: event.agent ?? "",
    labels: event.labels ?? {},
    created: at,
    queued: at,
    ended: 0,
    phases: [],
  };
}

/** @returns {Session} */
function fromView(view) {
  const created = Date.parse(view.created_at);
  return {
    ...fromQueued(view, created),
    status: view.status,
    leaving: view.leaving,
    runner: view.runner ?? "",
    start: view.start ?? "",
  };
}
