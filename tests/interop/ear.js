// What a page hears, posted to /heard as 16-bit samples at 8000 Hz, and what a test page needs besides.
"use strict";

const tell = (facts) => fetch("/news", { method: "POST", body: JSON.stringify(facts) });
let ear = null;
let posted = Promise.resolve();

function listen(stream) {
  // Chromium plays a remote stream into Web Audio only while an element has it, too.
  const audio = new Audio();
  audio.muted = true;
  audio.srcObject = stream;
  audio.play();
  if (ear) ear.close(); // of the call before
  ear = new AudioContext({ sampleRate: 8000 });
  const taker = ear.createScriptProcessor(1024, 1, 1);
  taker.onaudioprocess = ({ inputBuffer }) => {
    const whole = (sample) => Math.round(Math.max(-1, Math.min(1, sample)) * 32767);
    const body = Int16Array.from(inputBuffer.getChannelData(0), whole);
    posted = posted.then(() => fetch("/heard", { method: "POST", body })); // in order
  };
  ear.createMediaStreamSource(stream).connect(taker);
  taker.connect(ear.destination);
}

async function obey(orders) {
  for (;;) {
    const order = await (await fetch("/order")).json();
    try {
      await orders[order.do](order);
    } catch (error) {
      tell({ event: "failed", error: String(error) });
    }
  }
}
