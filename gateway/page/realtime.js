// Sound → turns, over /v1/realtime. A connection that breaks is opened again, and what had no answer is sent again.

import { Refusal, fetchModels } from "./server.js";
import { CHUNK_MS, RATE } from "./sound.js";
import { Turns } from "./turns.js";

const RECONNECT_CODES = [1001, 1006, 1011, 1012, 1013]; // going away, cut off, failed, restarting, overloaded
const WAITS_MS = [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]; // between tries
const UNHEARD_MS = 5_000; // before the newest sound: the server may yet find that speech began there
const MAX_CHUNKS = 600_000 / CHUNK_MS; // kept without an answer
const FINISH_MS = 30_000; // for the last turns
const LAST = "last"; // id of our last commit; there may be nothing to commit

export class LiveStream {
  /** `onChange()` after every event; `onState(words)` when the connection's state changes. */
  constructor({ key, model, language, onChange, onState }) {
    Object.assign(this, { key, model, language, onChange, onState });
    this.turns = new Turns();
    this.chunks = []; // base64, 50 ms each
    this.firstChunk = 0; // number of chunks[0] since the beginning
    this.tries = 0;
    this.isEnded = false; // no sound comes any more
    this.finished = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    this.finished.catch(() => {}); // whoever waits for it hears of it
    this.onState("Connecting …");
    this.#connect();
  }

  append(pcm) {
    this.chunks.push(btoa(String.fromCharCode(...new Uint8Array(pcm.buffer))));
    if (this.chunks.length > MAX_CHUNKS) this.#forget(this.firstChunk + 1);
    if (this.isOpen) this.#send("input_audio_buffer.append", { audio: this.chunks.at(-1) });
  }

  /** Of the turns that end from now on. */
  choose({ model, language }) {
    Object.assign(this, { model, language });
    if (this.isOpen) this.#configure();
  }

  /** Ends the sound; resolves when every turn is answered, rejects with Refusal. */
  end() {
    this.isEnded = true;
    if (this.isOpen) this.#commit();
    this.timer = setTimeout(() => this.#fail("The last words have no answer. Is the server still running?"), FINISH_MS);
    return this.finished;
  }

  #connect() {
    const address = new URL("v1/realtime?intent=transcription", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const protocols = this.key ? ["realtime", `openai-insecure-api-key.${this.key}`] : ["realtime"];
    try {
      this.socket = new WebSocket(address, protocols);
    } catch {
      return this.#fail("The API key has a character that a browser cannot send in a stream.", 401);
    }
    this.socket.onopen = () => this.#begin();
    this.socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
    this.socket.onclose = ({ code, reason }) => this.#closed(code, reason);
  }

  #begin() {
    this.isOpen = true;
    this.beganMs = this.firstChunk * CHUNK_MS;
    this.#configure();
    for (const audio of this.chunks) this.#send("input_audio_buffer.append", { audio });
    if (this.isEnded) this.#commit();
    this.onState("Listening");
  }

  #take(event) {
    if (event.type === "session.updated") this.wasGood = true;
    if (event.type.endsWith("_transcription.completed")) this.tries = 0;
    if (event.type === "error" && event.error.event_id !== LAST && event.error.code !== "session_expired") {
      this.onState(event.error.message);
    }
    if (event.type === "input_audio_buffer.cleared") this.isCommitted = true;
    const sentMs = this.#nextChunk * CHUNK_MS;
    this.turns.take(event, this.beganMs, sentMs);
    const { answeredMs, unanswered } = this.turns;
    this.#forget(Math.floor((unanswered.length ? answeredMs : Math.max(answeredMs, sentMs - UNHEARD_MS)) / CHUNK_MS));
    this.onChange();
    if (this.#isOver) this.socket.close(1000);
  }

  #closed(code, reason) {
    const wasOpen = this.isOpen;
    this.isOpen = false;
    if (this.#isOver || this.hasFailed) return this.#finish();
    this.isCommitted = false;
    if (!wasOpen && !this.wasGood) return this.#diagnose();
    if (!RECONNECT_CODES.includes(code)) return this.#fail(`The server closed the stream: ${reason || code}.`);
    if (this.tries >= WAITS_MS.length) return this.#fail("The connection broke, and the server does not come back.");
    this.turns.dropUnanswered();
    this.onChange();
    this.onState("The connection broke. Connecting again; what is said meanwhile is kept …");
    this.retry = setTimeout(() => this.#connect(), WAITS_MS[this.tries++]);
  }

  /** A browser does not say why a handshake failed: another request may. */
  async #diagnose() {
    try {
      await fetchModels(this.key);
      this.#fail("The server took no stream: too many are open, or a proxy before it passes no WebSocket.");
    } catch (error) {
      this.#fail(error.message, error.status);
    }
  }

  #fail(message, status = 0) {
    this.hasFailed = true;
    clearTimeout(this.timer);
    clearTimeout(this.retry);
    this.reject(new Refusal(message, status));
    this.socket?.close();
  }

  #finish() {
    clearTimeout(this.timer);
    this.resolve();
  }

  #commit() {
    // `cleared` follows the last `committed`, whether the commit finds a turn or not
    this.#send("input_audio_buffer.commit", { event_id: LAST });
    this.#send("input_audio_buffer.clear");
  }

  #configure() {
    const input = {
      format: { type: "audio/pcm", rate: RATE },
      transcription: { model: this.model || null, language: this.language || null },
      turn_detection: { type: "server_vad" },
    };
    this.#send("session.update", { session: { type: "transcription", audio: { input } } });
  }

  #forget(beforeChunk) {
    const count = Math.min(Math.max(beforeChunk - this.firstChunk, 0), this.chunks.length);
    this.chunks.splice(0, count);
    this.firstChunk += count;
  }

  get #nextChunk() {
    return this.firstChunk + this.chunks.length;
  }

  get #isOver() {
    return this.isCommitted && !this.turns.unanswered.length;
  }

  #send(type, fields = {}) {
    // one that closes says so a moment later; all chunks are kept until they are heard
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ type, ...fields }));
  }
}
