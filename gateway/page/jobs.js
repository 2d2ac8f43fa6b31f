// The page of jobs: many files in, one batch of them, its results out, today or tomorrow.

import { cancelBatch, fetchBatches, fetchLines, isUnfinished, nameOf, readable, submit } from "./batches.js";
import { hours, offerModels, size } from "./choices.js";
import { onDrop } from "./dropping.js";
import { JobList } from "./joblist.js";
import { $, fillLanguages, keepKey, problem, save, showModel } from "./shared.js";

const LOOK_MS = 2_000; // between two looks at batches that are not finished
const STEP = 20; // batches that "Show more" adds
const MOST = 100; // batches that the server lists at once
const JSON_LINES = "application/jsonl;charset=utf-8";

const state = { maxBytes: Infinity, sending: null, limit: STEP, timer: null, isAway: false };
const list = new JobList($("jobs"), $("job-template"), act);

// --- files come in

async function take(files) {
  if (!files.length || state.sending) return;
  problem("");
  const large = Array.from(files).find((file) => file.size > state.maxBytes);
  if (large) return problem(`${large.name} has ${size(large.size)}; this server takes at most ${size(state.maxBytes)}.`);
  state.sending = new AbortController();
  showSending(files);
  try {
    const batch = await submit(files, {
      model: $("model-choice").value || undefined,
      language: $("language").value,
      key: $("key").value,
      signal: state.sending.signal,
      onFile: (index) => showFile(files, index),
    });
    announce(`${nameOf(batch)} is a job now.`);
  } catch (error) {
    if (error.name !== "AbortError") fail(error);
  } finally {
    state.sending = null;
    $("sending").hidden = true;
    $("choose").disabled = false;
    $("choose").focus();
  }
  await look();
}

function showSending(files) {
  $("choose").disabled = true;
  $("sending").hidden = false;
  announce(`Sending ${files.length} ${files.length === 1 ? "file" : "files"}`);
}

function showFile(files, index) {
  $("sending-name").textContent = files[index].name;
  $("sending-progress").value = index / files.length;
  $("sending-status").textContent = `Sending ${index + 1} of ${files.length}`;
}

// --- the list

/** Shows the batches as they are now, and again soon while one of them is not finished. */
async function look() {
  clearTimeout(state.timer);
  let waits = true;
  try {
    const { data, has_more } = await fetchBatches($("key").value, state.limit);
    for (const batch of list.show(data)) announce(`${nameOf(batch)}: ${batch.status}`);
    $("none").hidden = data.length > 0;
    $("more").hidden = !has_more || state.limit >= MOST;
    if (state.isAway) problem("");
    state.isAway = false;
    waits = data.some(isUnfinished);
  } catch (error) {
    waits = state.isAway = error.status !== 401; // with another key, `keepKey` looks again
    if (waits) problem(error.message);
    else list.show([]);
  }
  clearTimeout(state.timer); // of a look that began meanwhile
  if (waits && !document.hidden) state.timer = setTimeout(look, LOOK_MS);
}

async function act(batch, action) {
  problem("");
  const key = $("key").value;
  try {
    if (action === "cancel") {
      await cancelBatch(batch.id, key);
      return await look();
    }
    const lines = await fetchLines(action === "errors" ? batch.error_file_id : batch.output_file_id, key);
    const name = `${nameOf(batch)}${action === "errors" ? " errors" : ""}`;
    if (action === "text") save(readable(lines), "text/plain;charset=utf-8", `${name}.txt`);
    else save(lines, JSON_LINES, `${name}.jsonl`);
  } catch (error) {
    fail(error);
  }
}

function fail(error) {
  problem(error.message);
  if (error.status === 401) {
    $("key-details").open = true;
    $("key").focus();
  }
}

/** Announces to a screen reader; numbers that change all the time are not announced. */
function announce(message) {
  $("announcement").textContent = message;
}

// --- wiring

async function loadSettings() {
  const settings = await fillLanguages();
  if (!settings) return;
  state.maxBytes = settings.max_upload_bytes;
  $("limits").textContent =
    `Audio or video, each up to ${size(settings.max_upload_bytes)} and ${hours(settings.max_audio_s)}`;
}

function wire() {
  $("form").addEventListener("submit", (event) => event.preventDefault());
  $("choose").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    take([...$("file").files]);
    $("file").value = ""; // the same files may be chosen again
  });
  $("cancel").addEventListener("click", () => state.sending?.abort());
  $("more").addEventListener("click", () => {
    state.limit = Math.min(state.limit + STEP, MOST);
    look();
  });
  document.addEventListener("visibilitychange", () => document.hidden || look());
  keepKey(() => {
    showModel(offerModels);
    look();
  });
  onDrop($("choose"), take);
}

wire();
loadSettings();
showModel(offerModels);
look();
