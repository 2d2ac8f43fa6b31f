// A stream's events → its turns, in the order in which they began. Milliseconds count from the beginning of
// the sound, whatever number of connections it takes.

const SPEECH = "input_audio_buffer.speech_";
const COMMITTED = "input_audio_buffer.committed";
const TRANSCRIPTION = "conversation.item.input_audio_transcription.";

export class Turns {
  all = []; // {id, startMs, endMs, text, isDone, failure}

  /** Applies an event of a connection that began at `beganMs`; `sentMs`: how far sound has been sent. */
  take(event, beganMs, sentMs) {
    if (event.type === `${SPEECH}started`) this.#turn(event).startMs = beganMs + event.audio_start_ms;
    else if (event.type === `${SPEECH}stopped`) this.#turn(event).endMs = beganMs + event.audio_end_ms;
    else if (event.type === COMMITTED) this.#turn(event).endMs ??= sentMs;
    else if (event.type === `${TRANSCRIPTION}delta`) this.#turn(event).text += event.delta;
    else if (event.type === `${TRANSCRIPTION}completed`) Object.assign(this.#turn(event), { text: event.transcript.trim(), isDone: true });
    else if (event.type === `${TRANSCRIPTION}failed`) Object.assign(this.#turn(event), { failure: event.error.message, isDone: true });
  }

  /** Those of a connection that broke: their sound is sent again. */
  dropUnanswered() {
    this.all = this.all.filter((turn) => turn.isDone);
  }

  get unanswered() {
    return this.all.filter((turn) => !turn.isDone);
  }

  /** Up to where everything that was said is answered. */
  get answeredMs() {
    return Math.min(...this.unanswered.map((turn) => turn.startMs), this.unanswered.length ? Infinity : this.#lastEndMs);
  }

  get #lastEndMs() {
    return Math.max(0, ...this.all.slice(-2).map((turn) => turn.endMs ?? 0));
  }

  #turn({ item_id: id }) {
    let turn = this.all.findLast((one) => one.id === id);
    if (!turn) {
      turn = { id, startMs: this.#lastEndMs, endMs: null, text: "", isDone: false, failure: "" };
      this.all.push(turn);
    }
    return turn;
  }
}
