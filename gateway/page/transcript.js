// The transcript on the page: a list of segments that play when pressed, or a file's text.

import { FORMATS, clock } from "./formats.js";

const KEYS = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity };

export class TranscriptView {
  constructor(list, preview, onPlay) {
    this.list = list;
    this.preview = preview;
    this.onPlay = onPlay;
    this.format = "txt";
    this.clear();
    list.addEventListener("keydown", (event) => this.#move(event));
  }

  clear() {
    this.transcript = { text: "", segments: [] };
    this.list.replaceChildren();
    this.#show();
  }

  take(event) {
    if (event.type === "transcript.text.delta") this.transcript.text += event.delta;
    if (event.type === "transcript.text.segment") this.#add(event);
    if (event.type === "transcript.text.done") this.#finish(event);
    this.#show();
  }

  choose(format) {
    this.format = format;
    this.#show();
  }

  /** The transcript in the chosen format. */
  file() {
    return FORMATS[this.format].make(this.transcript);
  }

  /** Marks the segment that plays. */
  mark(index) {
    this.list.querySelector("[aria-current]")?.removeAttribute("aria-current");
    const button = this.#buttons()[index];
    button?.setAttribute("aria-current", "true");
    button?.scrollIntoView({ block: "nearest" });
  }

  #add({ type, ...segment }) {
    const index = this.transcript.segments.push(segment) - 1;
    if (!segment.text.trim()) return this.list.append(document.createElement("li"));
    const button = document.createElement("button");
    button.type = "button";
    button.tabIndex = this.list.querySelector("button") ? -1 : 0; // one stop for Tab, arrows inside
    const time = document.createElement("time");
    time.textContent = clock(segment.start);
    const text = document.createElement("span");
    text.dir = "auto";
    text.textContent = segment.text.trim();
    button.append(time, " ", text);
    button.addEventListener("click", () => this.onPlay(index));
    const item = document.createElement("li");
    item.append(button);
    this.list.append(item);
  }

  #finish({ type, usage, ...done }) {
    const billed = { type: "duration", seconds: usage.seconds }; // a stream counts tokens, other answers seconds
    this.transcript = { ...done, segments: this.transcript.segments, usage: billed };
    if (this.transcript.segments.length) return;
    const item = document.createElement("li");
    item.className = "empty";
    item.textContent = done.text.trim() || "No speech was found.";
    this.list.append(item);
  }

  #show() {
    const asList = this.format === "txt";
    this.list.hidden = !asList;
    this.preview.hidden = asList;
    this.preview.textContent = asList ? "" : this.file();
  }

  #buttons() {
    return [...this.list.children].map((item) => item.querySelector("button"));
  }

  #move(event) {
    if (!(event.key in KEYS)) return;
    const buttons = this.#buttons().filter(Boolean);
    const at = buttons.indexOf(document.activeElement);
    const to = Math.min(Math.max(at + KEYS[event.key], 0), buttons.length - 1);
    if (at < 0) return;
    event.preventDefault();
    buttons[at].tabIndex = -1;
    buttons[to].tabIndex = 0;
    buttons[to].focus();
  }
}
