// The last hour as two drawings: how long launches took, and what failed.

import { element, say, shape } from "/console/elements.js";
import { MINUTES, quantile } from "/console/last_hour.js";
import { duration } from "/console/times.js";

const WIDTH = 480;
const HEIGHT = 120;
const LEFT = 46;
const BOTTOM = 18;
const STEP = (WIDTH - LEFT) / MINUTES;
const SHORTEST_MS = 1;
const LONGEST_MS = 100_000;
const MARKS_MS = [10, 100, 1000, 10_000, 100_000];

/** Puts the empty plots into the page; gives what shows the minutes in them. */
export function plots(place) {
  const launches = figure("Launches: from accepted to in the room");
  const failures = figure("Failures");
  place.append(launches.node, failures.node);
  return (minutes) => {
    showLaunches(launches, minutes);
    showFailures(failures, minutes);
  };
}

function figure(title) {
  const svg = shape("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT + BOTTOM}`, role: "img" });
  const words = element("p", { class: "words" });
  return { node: element("figure", {}, element("figcaption", {}, title), svg, words), svg, words, title };
}

function showLaunches({ svg, words, title }, minutes) {
  const all = minutes.flatMap((minute) => minute.launches);
  const count = minutes.reduce((sum, minute) => sum + minute.launched, 0);
  const text = count
    ? `${count} launched; half within ${duration(quantile(all, 0.5))}, 95 % within ${duration(quantile(all, 0.95))}`
    : "None in the last hour.";
  if (!said(svg, words, title, text, minutes)) return;
  const marks = MARKS_MS.map((ms) => line(height(ms), label(ms)));
  const minutesWith = minutes.map((minute, index) => ({ minute, x: middle(index) })).filter((one) => one.minute.launched);
  const drawn = minutesWith.map(({ minute, x }) => {
    const [half, most] = [quantile(minute.launches, 0.5), quantile(minute.launches, 0.95)];
    return shape(
      "g",
      { class: "launches" },
      shape("title", {}, `${minute.launched} launched: half within ${duration(half)}, 95 % within ${duration(most)}`),
      shape("line", { x1: x, x2: x, y1: height(half), y2: height(most) }),
      shape("circle", { class: "half", cx: x, cy: height(half), r: 2.5 }),
      shape("circle", { class: "most", cx: x, cy: height(most), r: 2 }),
    );
  });
  svg.replaceChildren(...marks.flat(), ...axis(), ...drawn);
}

function showFailures({ svg, words, title }, minutes) {
  const [failed, lost] = ["failed", "lost"].map((name) => minutes.reduce((sum, minute) => sum + minute[name], 0));
  const sessions = failed === 1 ? "1 session" : `${failed} sessions`;
  const text = `${sessions} given up, ${lost} bots replaced.`;
  if (!said(svg, words, title, text, minutes)) return;
  const most = Math.max(4, ...minutes.map((minute) => minute.failed + minute.lost));
  const tall = (count) => (count / most) * (HEIGHT - 8);
  const marks = [0, Math.ceil(most / 2), most].map((count) => line(HEIGHT - tall(count), String(count)));
  const bars = minutes.flatMap((minute, index) => {
    const x = LEFT + index * STEP + 1;
    const column = (name, count, below) =>
      shape(
        "rect",
        { class: name, x, y: HEIGHT - tall(count + below), width: STEP - 2, height: tall(count) },
        shape("title", {}, name === "failed" ? `${count} given up` : `${count} replaced`),
      );
    return [
      ...(minute.failed ? [column("failed", minute.failed, 0)] : []),
      ...(minute.lost ? [column("lost", minute.lost, minute.failed)] : []),
    ];
  });
  svg.replaceChildren(...marks.flat(), ...axis(), ...bars);
}

/** Say it in words; whether there is anything new to draw. */
function said(svg, words, title, text, minutes) {
  const state = `${text}${minutes[0].minute}`;
  if (svg.drawn === state) return false;
  svg.drawn = state;
  say(words, text);
  svg.setAttribute("aria-label", `${title}. ${text}`);
  return true;
}

function height(ms) {
  const share = Math.log(Math.min(Math.max(ms, SHORTEST_MS), LONGEST_MS) / SHORTEST_MS);
  return HEIGHT - (share / Math.log(LONGEST_MS / SHORTEST_MS)) * (HEIGHT - 8);
}

function middle(index) {
  return LEFT + (index + 0.5) * STEP;
}

function label(ms) {
  return ms < 1000 ? `${ms} ms` : `${ms / 1000} s`;
}

function line(y, text) {
  return [
    shape("line", { class: "mark", x1: LEFT, x2: WIDTH, y1: y, y2: y }),
    shape("text", { x: LEFT - 5, y: y + 3, "text-anchor": "end" }, text),
  ];
}

function axis() {
  const times = [
    [0, "an hour ago", "start"],
    [MINUTES / 2, "30 min", "middle"],
    [MINUTES, "now", "end"],
  ];
  return times.map(([index, text, anchor]) =>
    shape("text", { x: LEFT + index * STEP, y: HEIGHT + 14, "text-anchor": anchor }, text),
  );
}
