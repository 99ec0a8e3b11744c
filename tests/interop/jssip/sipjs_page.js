// A SIP.js phone in a page, with the browser's own WebRTC and microphone; where to register is in the
// page's URL, as for page.js, and it knows the same orders.
import { Web } from "/sip.js/index.js";

const wanted = new URLSearchParams(location.search);
const microphone = {
  echoCancellation: false, noiseSuppression: false, autoGainControl: false,
};
const originators = { local: false };
const phone = new Web.SimpleUser(wanted.get("url"), {
  aor: `sip:${wanted.get("user")}@${wanted.get("domain")}`,
  media: { constraints: { audio: microphone, video: false }, remote: { audio: new Audio() } },
  userAgentOptions: {
    authorizationUsername: wanted.get("user"),
    authorizationPassword: wanted.get("password"),
    sessionDescriptionHandlerFactoryOptions: { peerConnectionConfiguration: { iceServers: [] } },
  },
  delegate: {
    onServerConnect: () => tell({ event: "connected" }),
    onServerDisconnect: () => tell({ event: "disconnected" }),
    onRegistered: () => tell({ event: "registered" }),
    onUnregistered: () => tell({ event: "unregistered" }),
    onCallReceived: () => phone.answer(),
    onCallAnswered: () => {
      originators.local = false;
      listen(phone.remoteMediaStream);
      tell({ event: "confirmed" });
    },
    onCallHold: (held) => tell({ event: held ? "hold" : "unhold", originator: "local" }),
    onCallDTMFReceived: (digit) => tell({ event: "digit", digit }),
    onCallHangup: () => tell({
      event: "ended", originator: originators.local ? "local" : "remote",
    }),
  },
});

obey({
  start: async () => { await phone.connect(); await phone.register(); },
  stop: () => phone.unregister(),
  call: ({ target }) => phone.call(target),
  hangup: () => { originators.local = true; return phone.hangup(); },
  hold: () => phone.hold(),
  unhold: () => phone.unhold(),
  press: ({ digit }) => phone.sendDTMF(digit),
});
