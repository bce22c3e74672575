// A front end as a developer writes it around Pipecat's published client. The test drives it through `call`.
//
// The transport's other media manager fetches Daily's code from c.daily.co, which a test does not reach; this one of the
// same package takes the microphone from the browser itself.
import { PipecatClient } from "@pipecat-ai/client-js";
import { SmallWebRTCTransport, WavMediaManager } from "@pipecat-ai/small-webrtc-transport";

const call = { happened: [], level: 0, client: null };
window.call = call;

const note = (what) => (data) => call.happened.push({ what, data });

call.client = new PipecatClient({
  transport: new SmallWebRTCTransport({ mediaManager: new WavMediaManager() }),
  enableMic: true,
  enableCam: false,
  callbacks: {
    onBotReady: note("bot ready"),
    onServerMessage: note("server message"),
    onUserTranscript: note("user transcript"),
    onBotTtsText: note("bot text"),
    onDisconnected: note("disconnected"),
    onError: note("error"),
    onTrackStarted: (track, participant) => {
      if (track.kind === "audio" && !participant?.local) measure(track);
    },
  },
});

// The loudest that the bot has been so far, from 0 to 1.
function measure(track) {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  const stream = new MediaStream([track]);
  // Chromium plays a remote track into Web Audio only while an element plays it, too.
  const element = new Audio();
  element.srcObject = stream;
  element.play();
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    call.level = Math.max(call.level, ...samples.map(Math.abs));
  }, 20);
}
