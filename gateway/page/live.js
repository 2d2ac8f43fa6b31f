// The page of live captions: the microphone or a tab in, what is said out.

import { CaptionsView } from "./captions.js";
import { offerModels } from "./choices.js";
import { FORMATS, clock } from "./formats.js";
import { LiveStream } from "./realtime.js";
import { $, copy, fillLanguages, keepKey, note, problem, save, showModel } from "./shared.js";
import { CHUNK_MS, NoSound, openSound, whyNotListen } from "./sound.js";

const LABELS = { microphone: "Microphone", tab: "Sound of a tab" };
const FLOOR_DB = -60; // the level's lowest mark
const FALL = 0.06; // of the level, in a chunk

const view = new CaptionsView($("turns"), $("open"));
let listening = null; // {source, stream, closeSound, numChunks}

// --- listening

async function start(source) {
  problem("");
  setButtons(true);
  const started = { source, stream: null, closeSound: null, numChunks: 0 };
  try {
    started.closeSound = await openSound(source, { onChunk: (pcm, peak) => hear(started, pcm, peak), onEnd: () => listening === started && stop() });
    listening = started;
    $("listening").hidden = $("result").hidden = false;
    view.beginStream();
    started.stream = new LiveStream({
      key: $("key").value,
      ...choices(),
      onChange: () => view.show(started.stream.turns.all),
      onState: (words) => ($("state").textContent = words),
    });
    started.stream.finished.catch((error) => fail(started, error));
    showLabel();
  } catch (error) {
    if (!(error instanceof NoSound)) throw error;
    problem(error.message);
  } finally {
    setButtons(false);
    $(source).focus();
  }
}

/** What a person chose; it counts for the turns that end from now on. */
function choices() {
  return { model: $("model-choice").value, language: $("language").value };
}

function hear(started, pcm, peak) {
  if (listening !== started || !started.stream) return;
  started.numChunks += 1;
  started.stream.append(pcm);
  $("level").value = Math.max(1 - (20 * Math.log10(peak + 1e-6)) / FLOOR_DB, $("level").value - FALL);
  showLabel();
}

async function stop() {
  const { stream, closeSound, source } = listening;
  closeSound();
  listening = null;
  showLabel(source);
  $("level").value = 0;
  setButtons(true);
  $("state").textContent = "Waiting for the last words …";
  try {
    await stream.end();
    $("state").textContent = "Stopped";
  } catch {
    // told by `fail`
  } finally {
    setButtons(false);
    $(source).focus();
  }
}

function fail(started, error) {
  problem(error.message);
  $("listening").hidden = true;
  if (!view.segments.length) $("result").hidden = true;
  if (listening === started) {
    started.closeSound();
    listening = null;
    showLabel(started.source);
  }
  setButtons(false);
  if (error.status === 401) {
    $("key-details").open = true;
    $("key").focus();
  }
}

// --- showing

/** While something is under way, both buttons rest; while one listens, the other does. */
function setButtons(isBusy) {
  for (const source of Object.keys(LABELS)) {
    $(source).disabled = isBusy || Boolean(whyNotListen(source)) || (listening && listening.source !== source);
  }
}

function showLabel(source = listening.source) {
  const isOn = listening?.source === source;
  const label = isOn ? `Stop  ${clock((listening.numChunks * CHUNK_MS) / 1000)}` : LABELS[source];
  if ($(`${source}-label`).textContent !== label) $(`${source}-label`).textContent = label;
  $(source).setAttribute("aria-pressed", String(isOn));
}

// --- saving

function chosen() {
  const name = document.querySelector("input[name=format]:checked").value;
  return { name, type: FORMATS[name].type, text: FORMATS[name].make(view.transcript) };
}

function download() {
  const { name, type, text } = chosen();
  save(text, type, `captions.${name}`);
}

// --- wiring

function wire() {
  $("form").addEventListener("submit", (event) => event.preventDefault());
  for (const source of Object.keys(LABELS)) {
    $(source).addEventListener("click", () => (listening ? stop() : start(source)));
  }
  for (const id of ["model-choice", "language"]) {
    $(id).addEventListener("change", () => listening?.stream.choose(choices()));
  }
  addEventListener("beforeunload", (event) => listening && event.preventDefault()); // asks before it is lost
  $("clear").addEventListener("click", () => {
    view.clear();
    if (listening) view.skip(listening.stream.turns.all);
  });
  $("copy").addEventListener("click", () => copy($("copy"), chosen().text));
  $("download").addEventListener("click", download);
  keepKey(() => showModel(offerModels));
  note("sound-note", whyNotListen("microphone") || whyNotListen("tab"));
  setButtons(false);
}

wire();
fillLanguages();
showModel(offerModels);
