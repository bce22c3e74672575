// Times: the server's clock, and how long something is for people.

/** How much the server's clock is ahead of this one's; small differences do not count, for it tells whole seconds. */
let ahead_ms = 0;

/** Learn the server's clock from an answer. */
export function learnClock(response) {
  const date = Date.parse(response.headers.get("Date") ?? "");
  const found = date - Date.now();
  if (!Number.isNaN(date)) ahead_ms = Math.abs(found) > 2000 ? found : 0;
}

/** The server's time now, in milliseconds. */
export function serverNow() {
  return Date.now() + ahead_ms;
}

/** A duration such as `25 ms`, `1.2 s`, `12 s`, `3 min`, `2 h 5 min`. */
export function duration(ms) {
  const s = Math.max(ms, 0) / 1000;
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 100) return `${Math.round(s)} s`;
  const min = Math.floor(s / 60);
  if (min < 100) return `${min} min`;
  return `${Math.floor(min / 60)} h ${min % 60} min`;
}

/** An age: as a duration, in whole seconds. */
export function age(ms) {
  return ms < 10_000 ? `${Math.max(Math.floor(ms / 1000), 0)} s` : duration(ms);
}

/** The time of day with milliseconds, here. */
export function clock(at_ms) {
  const date = new Date(at_ms);
  return `${date.toLocaleTimeString("en-GB")}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}
