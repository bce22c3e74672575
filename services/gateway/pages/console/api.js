// Requests to the gateway that this page came from, with the key that was entered, if one was.
//
// The key is in this tab's session storage, where the page at /client/ finds it too (client/key.js). It goes into a
// header and nowhere else.

import { learnClock } from "/console/times.js";

const KEY = "pipefleet-key";
const PAGE = 1000;
const MOST_PAGES = 50;

/** An answer that is an error; its message is the gateway's sentence. */
export class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }

  /** Whether another key would help. */
  get wantsKey() {
    return this.status === 401 || this.status === 403;
  }
}

export function useKey(key) {
  sessionStorage.setItem(KEY, key);
}

export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

/**
 * Ask; gives the response, which is no error.
 * @throws {Refused} the gateway said no; other errors mean that there was no answer.
 */
export async function ask(path, { method = "GET", body, headers = {}, signal } = {}) {
  const key = sessionStorage.getItem(KEY);
  const response = await fetch(path, {
    method,
    signal,
    headers: {
      ...headers,
      ...(key ? { Authorization: `Bearer ${key}` } : {}),
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
    cache: "no-store",
    redirect: "error",
  });
  learnClock(response);
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw new Refused(response.status, said.error ?? `The gateway answered ${response.status}.`);
}

/** All live sessions, oldest first. */
export async function liveSessions() {
  const found = [];
  for (let page = 0, after = ""; page < MOST_PAGES; page += 1) {
    const answer = await (await ask(`/sessions?limit=${PAGE}&after=${after}`)).json();
    found.push(...answer.sessions);
    if (!answer.next) break;
    after = answer.next;
  }
  return found;
}

/** One session with its timeline. */
export async function oneSession(id) {
  return (await ask(`/sessions/${encodeURIComponent(id)}`)).json();
}

export async function deadLetters() {
  return (await (await ask("/dead")).json()).dead;
}

export async function redrive(letterId) {
  return (await ask(`/dead/${encodeURIComponent(letterId)}/redrive`, { method: "POST" })).json();
}

export async function start(wish) {
  return (await ask("/join", { method: "POST", body: wish })).json();
}

export async function command(wish) {
  return (await ask("/admin", { method: "POST", body: wish })).json();
}

export async function leave(id) {
  await ask(`/sessions/${encodeURIComponent(id)}`, { method: "DELETE" });
}
