// The microphone, or the sound of a tab, as chunks of 16-bit PCM.

export const RATE = 24_000; // Hz, OpenAI's
export const CHUNK_MS = 50;

/** A sound that cannot be had, in words for a person. */
export class NoSound extends Error {}

/** Why this browser cannot listen to the source here, or an empty string. */
export function whyNotListen(source) {
  if (!window.isSecureContext) return "Listening needs https, or localhost.";
  const media = navigator.mediaDevices;
  if (!window.AudioWorkletNode || !media?.getUserMedia) return "This browser cannot listen.";
  if (source === "tab" && !media.getDisplayMedia) return "This browser cannot listen to a tab.";
  return "";
}

/**
 * Opens "microphone" or "tab" and calls `onChunk(pcm, peak)` every 50 ms, `onEnd` when the sound ends by itself.
 * Resolves with a function that ends it; rejects with NoSound.
 */
export async function openSound(source, { onChunk, onEnd }) {
  const stream = await (source === "tab" ? tabStream() : microphoneStream());
  const context = new AudioContext();
  const close = () => {
    stream.getTracks().forEach((track) => track.stop());
    if (context.state !== "closed") context.close();
  };
  try {
    await context.audioWorklet.addModule(new URL("./worklet.js", import.meta.url));
    const processorOptions = { rate: RATE, chunkSamples: (RATE * CHUNK_MS) / 1000 };
    const node = new AudioWorkletNode(context, "pcm-chunks", { processorOptions });
    node.port.onmessage = ({ data }) => onChunk(data.pcm, data.peak);
    context.createMediaStreamSource(stream).connect(node);
    node.connect(context.destination); // silent: some browsers run no node that leads nowhere
    await context.resume();
  } catch (error) {
    close();
    throw new NoSound(`The sound did not open: ${error.message}`);
  }
  stream.getAudioTracks()[0].addEventListener("ended", onEnd);
  return close;
}

async function microphoneStream() {
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: true });
  } catch (error) {
    if (error.name === "NotAllowedError") throw new NoSound("The microphone is blocked. Allow it in the browser's address bar.");
    if (error.name === "NotFoundError") throw new NoSound("No microphone was found.");
    throw new NoSound(`The microphone did not open: ${error.message}`);
  }
}

async function tabStream() {
  let stream;
  try {
    // browsers share no sound without a picture; nothing reads the picture
    stream = await navigator.mediaDevices.getDisplayMedia({ video: true, audio: true });
  } catch (error) {
    if (error.name === "NotAllowedError") throw new NoSound("No tab was shared.");
    throw new NoSound(`The tab's sound did not open: ${error.message}`);
  }
  if (!stream.getAudioTracks().length) {
    stream.getTracks().forEach((track) => track.stop());
    throw new NoSound("The tab was shared without its sound. Choose a tab, and switch on its sound there. Not every browser can.");
  }
  return stream;
}
