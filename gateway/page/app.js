// The page: a file or the microphone in, the transcript out.

import { hours, offerModels, size } from "./choices.js";
import { onDrop } from "./dropping.js";
import { FORMATS, clock } from "./formats.js";
import { Player } from "./player.js";
import { microphoneProblem, startRecording, whyNotRecord } from "./recorder.js";
import { transcribe } from "./server.js";
import { $, copy, fillLanguages, keepKey, note, problem, save, showModel } from "./shared.js";
import { TranscriptView } from "./transcript.js";

const PLAY = "M8 5.5v13l11-6.5z";
const PAUSE = "M7 5h3.5v14H7zM13.5 5H17v14h-3.5z";

const state = { file: null, maxBytes: Infinity, job: null, recording: null };

const view = new TranscriptView($("segments"), $("preview"), (index) => player.playSegment(index));
const player = new Player($("wave"), {
  onSegment: (index) => view.mark(index),
  onTime: (seconds, duration) => ($("clock").textContent = `${clock(seconds)} / ${clock(duration)}`),
  onPlaying: showPlaying,
  onFail: () => {
    $("player").hidden = true;
    note("player-note", "This browser cannot play the recording. The transcript is not affected.");
  },
});

// --- asking the server what it is

async function loadSettings() {
  const settings = await fillLanguages();
  if (!settings) return;
  state.maxBytes = settings.max_upload_bytes;
  $("limits").textContent = `Audio or video, up to ${size(settings.max_upload_bytes)} and ${hours(settings.max_audio_s)}`;
}

function loadModels() {
  showModel(offerModels);
}

// --- a recording comes in

function take(file) {
  if (!file) return;
  state.job?.abort();
  problem("");
  if (file.size > state.maxBytes) {
    return problem(`${file.name} has ${size(file.size)}; this server takes at most ${size(state.maxBytes)}.`);
  }
  state.file = file;
  $("player").hidden = false;
  note("player-note", "");
  player.load(file).catch(() => {}); // reported through onFail
  run(file);
}

async function run(file) {
  const job = new AbortController();
  state.job = job;
  view.clear();
  player.clear();
  showJob(file);
  const result = $("result");
  result.hidden = false;
  result.setAttribute("aria-busy", "true");
  try {
    await transcribe(file, {
      model: $("model-choice").value,
      language: $("language").value,
      key: $("key").value,
      signal: job.signal,
      onUpload: (fraction) => state.job === job && showUpload(fraction),
      onEvent: (event) => state.job === job && takeEvent(event),
    });
  } catch (error) {
    if (state.job === job) fail(error);
  } finally {
    if (state.job === job) endJob();
  }
}

function takeEvent(event) {
  view.take(event);
  if (event.type === "transcript.text.segment") {
    player.add(event);
    $("progress").removeAttribute("value");
    $("status").textContent = `Transcribed up to ${clock(event.end)}`;
  }
  if (event.type === "transcript.text.done") announce("The transcript is complete.");
}

function fail(error) {
  if (error.name !== "AbortError") problem(error.message);
  if (!view.transcript.text) $("result").hidden = true; // a partial transcript stays
  if (error.status === 401) {
    $("key-details").open = true;
    $("key").focus();
  }
}

function endJob() {
  state.job = null;
  $("job").hidden = true;
  $("result").setAttribute("aria-busy", "false");
}

// --- showing

function showJob(file) {
  $("job").hidden = false;
  $("file-name").textContent = file.name;
  $("status").textContent = "Sending …";
  $("progress").value = 0;
  announce(`Transcribing ${file.name}`);
}

function showUpload(fraction) {
  $("progress").value = fraction;
  $("status").textContent = fraction < 1 ? `Sending, ${Math.floor(fraction * 100)} %` : "Listening …";
  if (fraction >= 1) $("progress").removeAttribute("value");
}

function showPlaying(playing) {
  $("play").setAttribute("aria-label", playing ? "Pause" : "Play");
  $("play-icon").setAttribute("d", playing ? PAUSE : PLAY);
}

/** Announces the text to a screen reader; numbers that change all the time are not announced. */
function announce(message) {
  $("announcement").textContent = message;
}

// --- the microphone

async function toggleRecording() {
  const button = $("record");
  if (state.recording) {
    const { recorder, timer } = state.recording;
    state.recording = null;
    clearInterval(timer);
    showRecording("Record", false);
    return take(await recorder.stop());
  }
  problem("");
  button.disabled = true;
  try {
    const recorder = await startRecording();
    const began = performance.now();
    const tick = () => showRecording(`Stop  ${clock((performance.now() - began) / 1000)}`, true);
    state.recording = { recorder, timer: setInterval(tick, 500) };
    tick();
  } catch (error) {
    problem(microphoneProblem(error));
  } finally {
    button.disabled = false;
    button.focus();
  }
}

function showRecording(label, pressed) {
  $("record-label").textContent = label;
  $("record").setAttribute("aria-pressed", String(pressed));
}

// --- saving

function download() {
  save(view.file(), FORMATS[view.format].type, `${state.file.name.replace(/\.[^.]*$/, "")}.${view.format}`);
}

// --- wiring

function wire() {
  $("form").addEventListener("submit", (event) => event.preventDefault());
  $("choose").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    take($("file").files[0]);
    $("file").value = ""; // the same file may be chosen again
  });
  $("record").addEventListener("click", toggleRecording);
  $("cancel").addEventListener("click", () => {
    state.job?.abort();
    $("choose").focus();
  });
  $("again").addEventListener("click", () => take(state.file));
  $("play").addEventListener("click", () => player.toggle());
  $("copy").addEventListener("click", () => copy($("copy"), view.file()));
  $("download").addEventListener("click", download);
  for (const radio of document.getElementsByName("format")) {
    radio.addEventListener("change", () => view.choose(radio.value));
  }
  keepKey(loadModels);
  const reason = whyNotRecord();
  $("record").disabled = Boolean(reason);
  note("record-note", reason);
  onDrop($("choose"), (files) => take(files[0]));
}

wire();
loadSettings();
loadModels();
