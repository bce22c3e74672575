// The gateway's server-sent events, read with `fetch`: an `EventSource` could send no key.

import { Refused, ask } from "/console/api.js";

const TYPES = "queued,cold_start,starting,running,leaving,command,ended,failed,fleet";
const BACK_OFF_MS = [250, 500, 1000, 2000, 4000, 8000];
/** The gateway says something every 15 s; after this long the connection is dead, though nobody said so. */
const SILENT_MS = 40_000;

/**
 * Follow the events, and come back to where this was whenever the connection breaks.
 *
 * @param {string} since the position to begin at
 * @param {string} newest the position up to which all is of the past: `connected` is called when that is read
 * @param {{take: (type: string, data: any) => void, connected: () => void, lost: () => void}} listener
 * @throws {Refused} a key is needed, or another one.
 */
export async function follow(since, newest, listener) {
  let [place, past] = [since, newest];
  let failures = 0;
  let current = false;
  const take = (event) => {
    failures = 0;
    place = event.id || place;
    if (event.data) listener.take(event.type, JSON.parse(event.data));
    // After a gap positions may count from lower again.
    if (event.type === "gap" || covers(place, past)) past = "";
    if (current || past) return;
    current = true;
    listener.connected();
  };
  for (;;) {
    try {
      await read(place, { take });
    } catch (error) {
      if (error instanceof Refused && error.wantsKey) throw error;
    }
    current = false;
    listener.lost();
    await backOff(failures);
    failures += 1;
  }
}

/** The position of whoever has read everything. */
export async function newestPlace() {
  let place = "";
  const stop = new AbortController();
  const take = (event) => {
    place ||= event.id;
    stop.abort();
  };
  await read("", { take, stop }).catch((error) => {
    if (!place) throw error;
  });
  return place;
}

/**
 * A position from which all changes of state since then are read, and nothing that is not there: entry ids begin with
 * their time, and of activity, which is not shown here, none is wanted.
 */
export function notBefore(newest, since_ms) {
  const [state, activity] = newest.split("_");
  return parseInt(state, 10) > since_ms ? `${Math.floor(since_ms)}-0_${activity}` : newest;
}

/** Whether the changes of state up to the second position are read at the first one. */
function covers(place, other) {
  const [[ms, number], [otherMs, otherNumber]] = [place, other].map((one) => one.split("_")[0].split("-").map(Number));
  return ms > otherMs || (ms === otherMs && number >= otherNumber);
}

/** Wait the longer the more attempts have failed. */
export function backOff(failures) {
  const ms = BACK_OFF_MS[Math.min(failures, BACK_OFF_MS.length - 1)];
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** One connection, until it ends. */
async function read(place, { take, stop = new AbortController() }) {
  let timer = setTimeout(() => stop.abort(), SILENT_MS);
  try {
    const headers = place ? { "Last-Event-ID": place } : {};
    const response = await ask(`/events?types=${TYPES}`, { headers, signal: stop.signal });
    const parse = parser(take);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      clearTimeout(timer);
      timer = setTimeout(() => stop.abort(), SILENT_MS);
      parse(piece.value);
    }
  } finally {
    clearTimeout(timer);
    stop.abort();
  }
}

/**
 * Takes the text of a stream piece by piece, and gives each event as soon as it is whole. Only what the gateway sends:
 * lines end in one newline, and an event has one line of data.
 * @param {(event: {id: string, type: string, data: string}) => void} give
 */
export function parser(give) {
  let rest = "";
  return (text) => {
    const blocks = (rest + text).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = { id: "", type: "message", data: "" };
      for (const line of block.split("\n")) {
        const colon = line.indexOf(":");
        const value = line.slice(colon + 1).replace(/^ /, "");
        if (line.startsWith("id:")) event.id = value;
        else if (line.startsWith("event:")) event.type = value;
        else if (line.startsWith("data:")) event.data = value;
      }
      give(event);
    }
  };
}
