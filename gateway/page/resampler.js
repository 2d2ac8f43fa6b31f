// Samples of any rate → another rate, piece by piece, without a seam: a windowed sinc, one set of weights for
// each place that an output sample can have between two input samples.

const ZERO_CROSSINGS = 16; // of the sinc on either side: what lies above half the lower rate is gone

export class Resampler {
  constructor(inputRate, outputRate) {
    const divisor = gcd(inputRate, outputRate);
    this.step = inputRate / divisor; // between two outputs, in 1/phases of an input sample
    this.phases = outputRate / divisor;
    const cutoff = Math.min(1, outputRate / inputRate);
    this.reach = Math.ceil(ZERO_CROSSINGS / cutoff); // input samples on either side of an output
    this.weights = Array.from({ length: this.phases }, (_, phase) => this.#weights(phase / this.phases, cutoff));
    this.held = new Float32Array(this.reach); // the sound begins with silence
    this.position = 0; // of the next output in `held`, behind its first `reach` samples, in 1/phases
  }

  /** The outputs that these input samples complete. */
  feed(samples) {
    const sound = new Float32Array(this.held.length + samples.length);
    sound.set(this.held);
    sound.set(samples, this.held.length);
    const output = [];
    let first = Math.floor(this.position / this.phases);
    while (first + 2 * this.reach < sound.length) {
      const weights = this.weights[this.position % this.phases];
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * sound[first + i];
      output.push(sum);
      this.position += this.step;
      first = Math.floor(this.position / this.phases);
    }
    const used = Math.min(first, sound.length);
    this.held = sound.slice(used);
    this.position -= used * this.phases;
    return Float32Array.from(output);
  }

  /** Of the inputs from `reach` before to `reach` behind an output that lies `fraction` behind an input. */
  #weights(fraction, cutoff) {
    const width = this.reach + 1;
    const weights = Float64Array.from({ length: 2 * this.reach + 1 }, (_, i) => {
      const distance = i - this.reach - fraction;
      const hann = 0.5 + 0.5 * Math.cos((Math.PI * distance) / width);
      return cutoff * sinc(cutoff * distance) * hann;
    });
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return weights.map((weight) => weight / total);
  }
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

function gcd(a, b) {
  return b ? gcd(b, a % b) : a;
}
