// Turns on the page: those that are answered are entries of a list, which a screen reader reads out; the words
// of the open ones stand below it, pale, because their transcripts may still replace them.

import { clock } from "./formats.js";

const NEAR_END_PX = 120; // a reader who is further up is left there

export class CaptionsView {
  constructor(list, open) {
    this.list = list;
    this.open = open;
    this.clear();
  }

  clear() {
    this.segments = []; // {start, end, text}, in seconds
    this.list.replaceChildren();
    this.open.textContent = "";
    this.beginStream();
  }

  /** The turns of another stream follow, behind those that are there. */
  beginStream() {
    this.shown = 0; // turns of the stream that are in the list
    this.offset = this.segments.at(-1)?.end ?? 0;
  }

  /** Leaves out the turns that are there: what follows is shown. */
  skip(turns) {
    this.shown = turns.filter((turn) => turn.isDone).length;
    this.show(turns);
  }

  show(turns) {
    const isAtEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - NEAR_END_PX;
    while (turns[this.shown]?.isDone) this.#add(turns[this.shown++]);
    const open = turns.slice(this.shown);
    const words = open.map((turn) => turn.text.trim()).join(" ");
    this.open.textContent = words || (open.length ? "…" : "");
    if (isAtEnd) this.open.scrollIntoView({ block: "nearest" });
  }

  get transcript() {
    return { text: this.segments.map((segment) => segment.text).join("\n"), segments: this.segments };
  }

  #add(turn) {
    if (turn.failure) this.#append("failed", turn, `No transcript: ${turn.failure}`);
    if (!turn.text) return;
    this.segments.push({ start: this.offset + turn.startMs / 1000, end: this.offset + turn.endMs / 1000, text: turn.text });
    this.#append("", turn, turn.text);
  }

  #append(className, turn, words) {
    const time = document.createElement("time");
    time.textContent = clock(this.offset + turn.startMs / 1000);
    const text = document.createElement("span");
    text.dir = "auto";
    text.textContent = words;
    const item = document.createElement("li");
    item.className = className;
    item.append(time, " ", text);
    this.list.append(item);
  }
}
