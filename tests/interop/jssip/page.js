// A JsSIP phone in a page, with the browser's own WebRTC and microphone. Where to register is in the
// page's URL: ?url=wss://...&user=&password=&domain=
"use strict";

const wanted = new URLSearchParams(location.search);
const microphone = {
  echoCancellation: false, noiseSuppression: false, autoGainControl: false,
};
const media = { audio: microphone, video: false };
const phone = new JsSIP.UA({
  sockets: [new JsSIP.WebSocketInterface(wanted.get("url"))],
  uri: `sip:${wanted.get("user")}@${wanted.get("domain")}`,
  password: wanted.get("password"),
  session_timers: false,
});
let session = null;

for (const event of ["connected", "disconnected", "registered", "unregistered"]) {
  phone.on(event, () => tell({ event }));
}
phone.on("registrationFailed", ({ cause }) => tell({ event: "registrationFailed", cause }));
phone.on("newRTCSession", (call) => {
  session = call.session;
  const hear = (connection) => connection.addEventListener("track", ({ track, streams }) => {
    listen(streams[0] || new MediaStream([track]));
  });
  // A call out has its connection already, a call in gets one when it is answered.
  if (session.connection) hear(session.connection);
  session.on("peerconnection", ({ peerconnection }) => hear(peerconnection));
  for (const event of ["confirmed", "hold", "unhold", "ended", "failed"]) {
    session.on(event, ({ originator, cause }) => tell({
      event, originator: originator || "", cause: cause || "",
    }));
  }
  if (wanted.get("behind")) {  // a NAT: the description names an address of its network alone
    session.on("sdp", (said) => {
      if (said.originator !== "local") return;
      said.sdp = said.sdp.replace(/(c=IN IP4 )\S+/g, `$1${wanted.get("behind")}`)
        .replace(/(a=candidate:\S+ \d udp \d+ )\S+/gi, `$1${wanted.get("behind")}`);
    });
  }
  session.on("newDTMF", ({ originator, dtmf }) => tell({
    event: "digit", originator, digit: dtmf.tone,
  }));
  if (call.originator === "remote") session.answer({ mediaConstraints: media });
});

obey({
  start: () => phone.start(),
  stop: () => phone.stop(),
  call: ({ target }) => { phone.call(target, { mediaConstraints: media }); },
  hangup: () => session.terminate(),
  hold: () => session.hold(),
  unhold: () => session.unhold(),
  restart: () => session.renegotiate({ rtcOfferConstraints: { iceRestart: true } }, () => tell({
    event: "restarted",
    ours: /a=ice-ufrag:(\S+)/.exec(session.connection.localDescription.sdp)[1],
    theirs: /a=ice-ufrag:(\S+)/.exec(session.connection.remoteDescription.sdp)[1],
  })),
  press: ({ digit, transport }) => session.sendDTMF(digit, { transportType: transport }),
});
