// A JsSIP phone for tests: registers, answers one call, then makes one. Signalling only: where a
// browser has WebRTC, this has a peer connection that never sends anything.
// Prints one line for each thing that happens; `node phone.js URL USER PASSWORD DOMAIN ORIGIN`.
"use strict";

const Socket = require("ws");
const [url, user, password, domain, origin] = process.argv.slice(2);
const SDP = [
  "v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0",
  "m=audio 9 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=sendrecv", "",
].join("\r\n");

global.WebSocket = class extends Socket {
  constructor(target, protocols) {
    super(target, protocols, { origin });
  }
};
global.RTCSessionDescription = function RTCSessionDescription(description) {
  return description;
};
global.RTCPeerConnection = class {
  constructor() {
    this.iceGatheringState = "complete";
    this.iceConnectionState = "connected";
    this.signalingState = "stable";
    this.localDescription = null;
    this.remoteDescription = null;
  }
  async createOffer() { return { type: "offer", sdp: SDP }; }
  async createAnswer() { return { type: "answer", sdp: SDP }; }
  async setLocalDescription(description) { this.localDescription = description; }
  async setRemoteDescription(description) { this.remoteDescription = description; }
  addEventListener() {}
  removeEventListener() {}
  addTrack() {}
  getSenders() { return []; }
  getReceivers() { return []; }
  close() { this.signalingState = "closed"; }
};

global.window = global;

const JsSIP = require("jssip");
const say = (line) => process.stdout.write(`${line}\n`);
const silent = { audio: false, video: false };
const phone = new JsSIP.UA({
  sockets: [new JsSIP.WebSocketInterface(url)],
  uri: `sip:${user}@${domain}`,
  password,
  session_timers: false,
});
let calls = 0;

phone.on("connected", () => say("connected"));
phone.on("disconnected", () => say("disconnected"));
phone.on("registered", () => say("registered"));
phone.on("registrationFailed", (event) => say(`registration failed: ${event.cause}`));
phone.on("newRTCSession", ({ originator, session }) => {
  session.on("confirmed", () => {
    say(`confirmed ${originator}`);
    if (originator === "local") setTimeout(() => session.terminate(), 50);
  });
  session.on("hold", ({ originator: who }) => say(`hold ${who}`));
  session.on("failed", (event) => say(`failed ${originator}: ${event.cause}`));
  session.on("ended", (event) => {
    say(`ended ${originator} by ${event.originator}`);
    if (calls++ === 0) {
      phone.call(`sip:room@${domain}`, { mediaConstraints: silent });
    } else {
      phone.stop(); // unregisters, then closes the socket
    }
  });
  if (originator === "remote") session.answer({ mediaConstraints: silent });
});
phone.start();
