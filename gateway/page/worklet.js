// On the audio thread: the sound of its input → chunks of 16-bit PCM with the peak of each.

import { Resampler } from "./resampler.js";

const FULL_SCALE = 32_767;

class PcmChunks extends AudioWorkletProcessor {
  constructor({ processorOptions: { rate, chunkSamples } }) {
    super();
    this.resampler = new Resampler(sampleRate, rate);
    this.chunk = new Int16Array(chunkSamples);
    this.filled = 0;
    this.peak = 0;
  }

  process([channels]) {
    if (channels.length) for (const sample of this.resampler.feed(mono(channels))) this.#add(sample);
    return true;
  }

  #add(sample) {
    const level = Math.min(Math.max(sample, -1), 1);
    this.peak = Math.max(this.peak, Math.abs(level));
    this.chunk[this.filled++] = Math.round(level * FULL_SCALE);
    if (this.filled < this.chunk.length) return;
    const pcm = this.chunk;
    this.chunk = new Int16Array(pcm.length);
    this.port.postMessage({ pcm, peak: this.peak }, [pcm.buffer]);
    this.filled = this.peak = 0;
  }
}

function mono(channels) {
  if (channels.length === 1) return channels[0];
  return channels[0].map((_, i) => channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length);
}

registerProcessor("pcm-chunks", PcmChunks);
