// What a page hears: the level in dB at each frequency that a test listens for, posted to /heard.
"use strict";

const tell = (facts) => fetch("/news", { method: "POST", body: JSON.stringify(facts) });

let looking = 0;

function listen(stream, frequencies) {
  // Chromium plays a remote stream into Web Audio only while an element has it, too.
  const audio = new Audio();
  audio.muted = true;
  audio.srcObject = stream;
  audio.play();
  const context = new AudioContext(), analyser = context.createAnalyser();
  analyser.fftSize = 8192;
  analyser.smoothingTimeConstant = 0;
  context.createMediaStreamSource(stream).connect(analyser);
  const bins = new Float32Array(analyser.frequencyBinCount);
  const bin = (hz) => Math.round(hz * analyser.fftSize / context.sampleRate);
  clearInterval(looking); // the call before is over
  looking = setInterval(() => {
    analyser.getFloatFrequencyData(bins);
    const level = (hz) => Math.max(-200, ...bins.slice(bin(hz) - 2, bin(hz) + 3));
    const heard = Object.fromEntries(frequencies.map((hz) => [hz, level(hz)]));
    fetch("/heard", { method: "POST", body: JSON.stringify(heard) });
  }, 200);
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
