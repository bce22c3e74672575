// What was measured in the last hour, minute by minute, in bounded space.

const MINUTE_MS = 60_000;
export const MINUTES = 60;
const SAMPLES = 200;

/**
 * @typedef {object} Minute
 * @property {number} minute minutes since the epoch
 * @property {number[]} launches milliseconds from accepted to in the room; of very many a fair choice
 * @property {number} launched how many there were
 * @property {number} lost attempts that came to nothing and were followed by another one
 * @property {number} failed sessions that were given up
 */

export class LastHour {
  /** @type {Map<number, Minute>} */
  #minutes = new Map();
  #newest = 0;

  /**
   * Take an event and its session. What is older than what was taken before, such as a feed that is read once more,
   * does not count again.
   */
  take(event, session) {
    const at = Date.parse(event.at);
    if (at < this.#newest) return;
    this.#newest = at;
    if (event.type === "running" && event.attempt === 1 && session) this.#launch(at, at - session.created);
    if (event.type === "queued" && event.attempt > 1) this.#of(at).lost += 1;
    if (event.type === "failed") this.#of(at).failed += 1;
  }

  /** The last minutes, oldest first, quiet ones included. @returns {Minute[]} */
  minutes(now_ms) {
    const last = Math.floor(now_ms / MINUTE_MS);
    for (const minute of this.#minutes.keys()) if (minute <= last - MINUTES) this.#minutes.delete(minute);
    const all = Array.from({ length: MINUTES }, (_, index) => last - MINUTES + 1 + index);
    return all.map((minute) => this.#minutes.get(minute) ?? empty(minute));
  }

  #launch(at, ms) {
    const minute = this.#of(at);
    minute.launched += 1;
    if (minute.launches.length < SAMPLES) {
      minute.launches.push(ms);
      return;
    }
    const place = Math.floor(Math.random() * minute.launched);
    if (place < SAMPLES) minute.launches[place] = ms;
  }

  #of(at) {
    const minute = Math.floor(at / MINUTE_MS);
    if (!this.#minutes.has(minute)) this.#minutes.set(minute, empty(minute));
    if (this.#minutes.size > 2 * MINUTES) this.#minutes.delete(this.#minutes.keys().next().value);
    return this.#minutes.get(minute);
  }
}

/** The value that this share of the values does not exceed; undefined where there are none. */
export function quantile(values, share) {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)];
}

function empty(minute) {
  return { minute, launches: [], launched: 0, lost: 0, failed: 0 };
}
