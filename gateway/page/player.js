// The recording as a waveform with its segments on it (wavesurfer.js).

import RegionsPlugin from "./vendor/wavesurfer-8.0.1/regions.esm.js";
import WaveSurfer from "./vendor/wavesurfer-8.0.1/wavesurfer.esm.js";

const HEIGHT = 88; // px; the page's Content-Security-Policy knows wavesurfer's style sheet by its hash, with this height
const MAX_DRAWN_S = 45 * 60; // longer recordings are played but not decoded: that takes 64 kB a second

const OVERRUN_S = 0.3; // playing stops a little behind the end

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const colors = () => ({
  waveColor: color("--wave"),
  progressColor: color("--accent"),
  cursorColor: color("--text"),
});

/** `onSegment(index)` is called with the segment that plays now, or -1; `onTime`, `onPlaying` and `onFail` likewise. */
export class Player {
  constructor(container, { onSegment, onTime, onPlaying, onFail }) {
    this.segments = [];
    this.active = -1;
    this.chosen = -1;
    this.ready = false;
    this.turn = 0;
    this.onSegment = onSegment;
    this.regions = RegionsPlugin.create();
    this.wave = WaveSurfer.create({
      container,
      height: HEIGHT,
      barWidth: 2,
      barGap: 1.5,
      barRadius: 2,
      cursorWidth: 1,
      normalize: true,
      dragToSeek: true,
      plugins: [this.regions],
      ...colors(),
    });
    this.wave.on("ready", (duration) => {
      onTime(0, duration);
      this.#drawAll();
    });
    this.wave.on("timeupdate", (seconds) => {
      onTime(seconds, this.wave.getDuration());
      this.#follow(seconds);
    });
    this.wave.on("play", () => onPlaying(true));
    this.wave.on("pause", () => onPlaying(false));
    this.wave.on("finish", () => onPlaying(false));
    this.wave.on("error", (error) => onFail(error));
    this.regions.on("region-clicked", (region, event) => {
      event.stopPropagation();
      this.playSegment(this.segments.findIndex((segment) => segment.region === region));
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.wave.setOptions(colors());
      this.segments.forEach((segment, index) => this.#paint(index));
    });
  }

  async load(file) {
    const turn = ++this.turn;
    this.clear();
    this.ready = false;
    const seconds = await playingTime(file);
    if (turn !== this.turn) return; // another file has been chosen meanwhile
    if (seconds > MAX_DRAWN_S) await this.wave.loadBlob(file, [[0, 0]], seconds);
    else await this.wave.loadBlob(file);
  }

  clear() {
    this.wave.pause();
    this.regions.clearRegions();
    this.segments = [];
    this.active = -1;
    this.chosen = -1;
  }

  add({ start, end }) {
    this.segments.push({ start, end, region: null });
    if (this.ready) this.#draw(this.segments.length - 1);
  }

  playSegment(index) {
    const segment = this.segments[index];
    if (!this.ready || !segment) return;
    this.chosen = index;
    this.wave.play(segment.start, Math.max(segment.end, segment.start + 0.1));
  }

  toggle() {
    this.chosen = -1;
    if (this.ready) this.wave.playPause();
  }

  #drawAll() {
    this.ready = true;
    this.segments.forEach((_, index) => this.#draw(index));
  }

  #draw(index) {
    const segment = this.segments[index];
    const { start, end } = segment;
    segment.region ??= this.regions.addRegion({ start, end, drag: false, resize: false, id: `segment-${index}` });
    this.#paint(index);
  }

  #paint(index) {
    const shade = index === this.active ? "--region-active" : index % 2 ? "--region-odd" : "--region";
    this.segments[index]?.region?.setOptions({ color: color(shade) });
  }

  #follow(seconds) {
    const index = this.#indexAt(seconds);
    if (index === this.active) return;
    const before = this.active;
    this.active = index;
    this.#paint(before);
    this.#paint(index);
    this.onSegment(index);
  }

  /** A pressed segment stays the current one after it stopped, although the next one starts there. */
  #indexAt(seconds) {
    const chosen = this.segments[this.chosen];
    if (chosen && chosen.start <= seconds && seconds <= chosen.end + OVERRUN_S) return this.chosen;
    return this.segments.findIndex(({ start, end }) => start <= seconds && seconds < end);
  }
}

/** Seconds, from the file's head. Infinity, for files without a duration such as MediaRecorder's, becomes 0. */
function playingTime(file) {
  return new Promise((resolve) => {
    const probe = new Audio();
    const finish = () => {
      URL.revokeObjectURL(probe.src);
      resolve(Number.isFinite(probe.duration) ? probe.duration : 0);
    };
    probe.preload = "metadata";
    probe.onloadedmetadata = finish;
    probe.onerror = finish;
    probe.src = URL.createObjectURL(file);
  });
}
