// The caller's microphone, camera and screen, for the SmallWebRTC transport of the page at /client/.
//
// That transport takes them through Daily's call object, which fetches its code from c.daily.co when it is used and
// reports to Sentry. This is the part of the call object that the transport uses, made of what the browser itself has:
// the gateway points the transport's import here (client_page.py). Names and shapes are Daily's, so that the transport
// finds them; https://docs.daily.co/reference/daily-js describes them.

const DEVICE = { audio: "audioinput", video: "videoinput" };
const NAME = { audio: "mic", video: "cam" };

class LocalMedia {
  #listeners = new Map();
  // What `participants` shows, by Daily's type of track. A muted microphone keeps its track.
  #tracks = {};
  #wanted = { audio: false, video: false, screenVideo: false };
  // The track that listeners were last told has started; none when they were told that it stopped.
  #told = {};
  #chosen = { audio: undefined, video: undefined, output: undefined };
  // One for each time from `startCamera` to `leave`: what was asked for in an earlier one is thrown away.
  #stay = null;
  // Browsers take their time and ask the user: changes come one after the other, in the order of the calls.
  #turn = Promise.resolve();
  #observer = null;
  #meter = null;

  on(event, listener) {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener]);
    return this;
  }

  // Never rejects, as the transport does not catch: what could not be had is told as `camera-error`.
  async startCamera({ startAudioOff = false, startVideoOff = false } = {}) {
    this.leave();
    this.#stay = {};
    this.#wanted = { audio: !startAudioOff, video: !startVideoOff, screenVideo: false };
    navigator.mediaDevices?.addEventListener("devicechange", this.#devicesChanged);
    this.#bring("audio");
    await this.#bring("video");
    return this.#selected();
  }

  // Tells of no stopped track: the transport would take that for a mute, and begin the next call muted.
  leave() {
    this.#stay = null;
    navigator.mediaDevices?.removeEventListener("devicechange", this.#devicesChanged);
    clearInterval(this.#observer);
    this.#observer = null;
    this.#meter?.close();
    this.#meter = null;
    for (const track of Object.values(this.#tracks)) track.stop();
    this.#tracks = {};
    this.#told = {};
  }

  participants() {
    if (!this.#stay) return {};
    const tracks = {};
    for (const type of ["audio", "video", "screenAudio", "screenVideo"]) {
      const track = this.#tracks[type];
      const on = Boolean(track && this.#wanted[type]);
      tracks[type] = { state: on ? "playable" : "off", persistentTrack: track, track: on ? track : undefined };
    }
    return { local: { ...this.#participant(), audio: this.localAudio(), video: this.localVideo(), tracks } };
  }

  localAudio() {
    return Boolean(this.#wanted.audio && this.#tracks.audio);
  }

  localVideo() {
    return Boolean(this.#wanted.video && this.#tracks.video);
  }

  // Sound of the screen is not taken: the transport does not send it, and would take it for the microphone.
  localScreenAudio() {
    return false;
  }

  localScreenVideo() {
    return Boolean(this.#tracks.screenVideo);
  }

  setLocalAudio(on) {
    this.#want("audio", on);
    return this;
  }

  setLocalVideo(on) {
    this.#want("video", on);
    return this;
  }

  startScreenShare() {
    this.#want("screenVideo", true);
  }

  stopScreenShare() {
    this.#want("screenVideo", false);
  }

  async enumerateDevices() {
    const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    return { devices: devices.map((device) => device.toJSON()) };
  }

  async setInputDevicesAsync({ audioDeviceId, videoDeviceId }) {
    const chosen = { audio: audioDeviceId, video: videoDeviceId };
    for (const type of ["audio", "video"]) {
      if (!chosen[type]) continue;
      this.#chosen[type] = chosen[type];
      if (!this.#stay) continue;
      // A muted one stays closed until it is wanted again.
      await this.#bring(type, { anew: true });
    }
    return this.#tellSelected();
  }

  // Sound is played by the page, which hears of the choice from the transport.
  async setOutputDeviceAsync({ outputDeviceId }) {
    this.#chosen.output = outputDeviceId;
    return this.#selected();
  }

  isLocalAudioLevelObserverRunning() {
    return this.#observer !== null;
  }

  async startLocalAudioLevelObserver(everyMs = 200) {
    clearInterval(this.#observer);
    this.#observer = setInterval(() => {
      this.#mend();
      this.#emit("local-audio-level", { audioLevel: this.#level() });
    }, everyMs);
  }

  #emit(action, fields) {
    for (const listener of this.#listeners.get(action) ?? []) listener({ action, ...fields });
  }

  #participant() {
    return { local: true, session_id: "local", user_id: "local", user_name: "" };
  }

  #want(type, on) {
    if (!this.#stay) return;
    this.#wanted[type] = on;
    // A mute does not wait for its turn.
    if (type === "audio" && this.#tracks.audio) this.#tracks.audio.enabled = on;
    this.#bring(type);
  }

  // Makes a track what is wanted of it, and tells the listeners.
  #bring(type, { anew = false } = {}) {
    const stay = this.#stay;
    this.#turn = this.#turn.then(async () => {
      if (stay === null || stay !== this.#stay) return;
      // Not two open at a time, which phones refuse.
      if (anew) this.#close(type);
      if (!this.#wanted[type]) {
        if (type !== "audio") this.#close(type);
      } else if (!this.#tracks[type]) {
        await this.#open(type, stay);
      }
      if (stay === this.#stay) this.#tell(type);
    });
    return this.#turn;
  }

  async #open(type, stay) {
    try {
      const track = await obtain(type, this.#chosen[type]);
      if (stay !== this.#stay) {
        track.stop();
        return;
      }
      track.enabled = this.#wanted[type];
      this.#tracks[type] = track;
      if (type !== "screenVideo") await this.#tellSelected();
    } catch (error) {
      if (stay !== this.#stay) return;
      this.#wanted[type] = false;
      if (type === "screenVideo") console.info(`The screen is not shared: ${error.message}`);
      else this.#emit("camera-error", deviceError(type, error));
    }
  }

  #close(type) {
    this.#tracks[type]?.stop();
    delete this.#tracks[type];
  }

  // One track in place of another is told as started only: "stopped" means muted to the transport.
  #tell(type) {
    const before = this.#told[type];
    const now = this.#wanted[type] ? this.#tracks[type] : undefined;
    if (now === before) return;
    this.#told[type] = now;
    const participant = this.#participant();
    if (now) this.#emit("track-started", { participant, track: now, type });
    else this.#emit("track-stopped", { participant, track: before, type });
  }

  // A track ends when its device is unplugged, when the user takes the permission back or ends the sharing, and when
  // the transport, making a new connection in place of a broken one, stops all that the old one sent. The last fires
  // no event, so that this is looked at now and then.
  #mend() {
    for (const [type, track] of Object.entries(this.#tracks)) {
      if (track.readyState !== "ended") continue;
      delete this.#tracks[type];
      this.#want(type, type === "screenVideo" ? false : this.#wanted[type]);
    }
  }

  // The loudest sample of the last moment, 0 to 1.
  #level() {
    const track = this.#tracks.audio;
    // Before a gesture of the user, browsers neither start a context nor let it pass without a warning.
    if (!track || navigator.userActivation?.hasBeenActive === false) return 0;
    this.#meter ??= new Meter();
    return this.#meter.peak(track);
  }

  #devicesChanged = async () => {
    const { devices } = await this.enumerateDevices();
    this.#emit("available-devices-updated", { availableDevices: devices });
  };

  async #tellSelected() {
    const selected = await this.#selected();
    this.#emit("selected-devices-updated", { devices: selected });
    return selected;
  }

  async #selected() {
    const { devices } = await this.enumerateDevices();
    const find = (kind, id) => devices.find((device) => device.kind === kind && device.deviceId === id);
    const input = (type) => find(DEVICE[type], this.#tracks[type]?.getSettings().deviceId ?? this.#chosen[type]) ?? {};
    const speaker =
      find("audiooutput", this.#chosen.output ?? "default") ?? devices.find(({ kind }) => kind === "audiooutput");
    // The empty id is the default device of an audio element.
    return { mic: input("audio"), camera: input("video"), speaker: speaker ?? { deviceId: "", kind: "audiooutput" } };
  }
}

class Meter {
  #context = new AudioContext();
  #analyser = this.#context.createAnalyser();
  #samples = new Float32Array(this.#analyser.fftSize);
  #source = null;
  #track = null;

  peak(track) {
    if (track !== this.#track) {
      this.#source?.disconnect();
      this.#source = this.#context.createMediaStreamSource(new MediaStream([track]));
      this.#source.connect(this.#analyser);
      this.#track = track;
    }
    this.#analyser.getFloatTimeDomainData(this.#samples);
    return this.#samples.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0);
  }

  close() {
    this.#context.close();
  }
}

async function obtain(type, deviceId) {
  if (!navigator.mediaDevices) {
    throw new DOMException("Browsers give out microphones on https and localhost only.", "UndefinedMediaDevicesError");
  }
  if (type === "screenVideo") {
    return (await navigator.mediaDevices.getDisplayMedia({ video: true })).getTracks()[0];
  }
  const ask = async (constraint) => (await navigator.mediaDevices.getUserMedia({ [type]: constraint })).getTracks()[0];
  if (!deviceId) return ask(true);
  try {
    // Chromium passes over what is only `ideal`.
    return await ask({ deviceId: { exact: deviceId } });
  } catch (error) {
    if (!["OverconstrainedError", "NotFoundError"].includes(error.name)) throw error;
    // The chosen one is gone, and gives way to the default.
    return ask(true);
  }
}

function deviceError(type, { name, message }) {
  const media = [type];
  const errors = {
    NotAllowedError: { type: "permissions", blockedMedia: media, blockedBy: "user" },
    SecurityError: { type: "permissions", blockedMedia: media, blockedBy: "browser" },
    NotFoundError: { type: "not-found", missingMedia: media },
    OverconstrainedError: { type: "constraints", failedMedia: media, reason: "invalid" },
    NotReadableError: { type: `${NAME[type]}-in-use` },
    AbortError: { type: `${NAME[type]}-in-use` },
    UndefinedMediaDevicesError: { type: "undefined-mediadevices" },
  };
  return { errorMsg: { errorMsg: message }, error: { ...(errors[name] ?? { type: "unknown" }), msg: message } };
}

let current = null;

// Each transport gets its own, and takes over from one that the page dropped without a word: that one's microphone
// must not stay open, and its late `leave` must not close the new one's.
export const LocalMediaCall = {
  getCallInstance() {
    return undefined;
  },

  createCallObject() {
    current?.leave();
    current = new LocalMedia();
    return current;
  },
};
