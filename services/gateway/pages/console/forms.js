// The forms: to start a session, to send a command, to enter a key.

import { command, start } from "/console/api.js";
import { element, say } from "/console/elements.js";

const WAIT_S = 10;
const OFFERED = 200;

/** @param {(id: string) => void} open shows the session that was started */
export function startForm(open) {
  const form = document.getElementById("start");
  onSubmit(form, async (fields) => {
    const wish = { transport: fields.transport };
    for (const name of ["room_url", "token", "agent"]) if (fields[name]) wish[name] = fields[name];
    if (fields.body.trim()) wish.body = parsed(fields.body, "Body");
    if (fields.labels.trim()) wish.labels = labelsOf(fields.labels);
    const joined = await start(wish);
    form.elements.token.value = "";
    open(joined.session_id);
    return `${joined.reused ? "The room's session is" : "Accepted as"} ${joined.session_id}.`;
  });
}

/** Gives what takes one there to send a session a command. */
export function commandForm(sessions) {
  const form = document.getElementById("command");
  const kind = form.elements.type;
  const choose = () => {
    for (const label of form.querySelectorAll("[data-for]")) {
      label.hidden = !label.dataset.for.split(" ").includes(kind.value);
    }
  };
  kind.addEventListener("change", choose);
  choose();
  form.elements.session_id.addEventListener("focus", () => {
    const live = [...sessions.live.keys()].slice(-OFFERED);
    form.querySelector("datalist").replaceChildren(...live.map((id) => element("option", { value: id })));
  });
  onSubmit(form, async (fields) => {
    const wish = { session_id: fields.session_id.trim(), type: fields.type, wait: WAIT_S };
    if (fields.type === "say" || fields.type === "message") wish.text = fields.text;
    if (fields.type === "message") wish.mode = fields.mode;
    if (fields.type === "dtmf") wish.digits = fields.digits;
    if (fields.type === "custom" || fields.type === "app_message") wish.data = parsed(fields.data, "Data");
    if (fields.type === "update") Object.assign(wish, parsed(fields.settings, "Settings"));
    const { outcome, reason, message } = await command(wish);
    return [outcome ?? "accepted; its fate will be in the timeline", reason, message].filter(Boolean).join(": ");
  });
  return (id) => {
    form.elements.session_id.value = id;
    kind.focus();
  };
}

/** Gives what asks for a key, and says why. @param {(key: string) => void} use */
export function keyForm(use) {
  const form = document.getElementById("key-form");
  const input = form.querySelector("input");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    form.hidden = true;
    use(input.value.trim());
    input.value = "";
  });
  return (why) => {
    form.hidden = false;
    say(document.getElementById("key-why"), why);
    input.focus();
  };
}

/** Do it with the form's fields, once at a time, and say what came of it. */
function onSubmit(form, act) {
  const output = form.querySelector("output");
  const button = form.querySelector("button[type=submit]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.ariaBusy === "true") return;
    form.ariaBusy = "true";
    output.className = "";
    say(output, "…");
    try {
      say(output, await act(Object.fromEntries(new FormData(form))));
    } catch (error) {
      output.className = "error";
      say(output, error.message);
    }
    form.ariaBusy = "false";
    if (document.activeElement === document.body) button.focus();
  });
}

function parsed(text, name) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${name}: this is no JSON.`);
  }
}

/** `team:a, tier:2` as an object. */
function labelsOf(text) {
  const pairs = text.split(",").map((pair) => pair.split(/:(.*)/s).map((part) => part.trim()));
  if (pairs.some(([name, value]) => !name || value === undefined)) throw new Error("Labels: write name:value, name:value.");
  return Object.fromEntries(pairs);
}
