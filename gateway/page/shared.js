// What all pages have: the model's badge, languages, the key, problems, saving.

import { fetchModels, fetchSettings } from "./server.js";

const KEY = "whisper-api-key";
const ASK_AGAIN_MS = 5_000; // while no worker is ready

export const $ = (id) => document.getElementById(id);

/** Fills the list of languages and shows the way to the jobs if there are any; resolves with the page's settings, or nothing after a problem. */
export async function fillLanguages() {
  try {
    const settings = await fetchSettings();
    const names = new Intl.DisplayNames([document.documentElement.lang], { type: "language" });
    const options = settings.languages.map(({ code, name }) => [nameOf(names, code, name), code]).sort();
    $("jobs-link").hidden = !settings.jobs;
    $("language").append(...options.map(([name, code]) => new Option(name, code)));
    return settings;
  } catch (error) {
    problem(error.message);
  }
}

/** Shows the first model that the key may use and hands all to `onModels`; asks again while there is none. */
export async function showModel(onModels = () => {}) {
  const badge = $("model");
  try {
    const models = await fetchModels($("key").value);
    badge.textContent = models[0]?.id ?? "no model";
    badge.dataset.state = models.length ? "ready" : "absent";
    onModels(models);
  } catch (error) {
    onModels([]);
    badge.textContent = { 401: "needs an API key", 503: "not ready yet" }[error.status] ?? "not reachable";
    badge.dataset.state = "absent";
    if (error.status === 401) $("key-details").open = true;
    else setTimeout(() => showModel(onModels), ASK_AGAIN_MS);
  }
}

function nameOf(names, code, name) {
  const localized = names.of(code);
  return localized && localized !== code ? localized : name.replace(/^./, (letter) => letter.toUpperCase());
}

/** Keeps the key for this tab; calls `onChange` when a person has changed it. */
export function keepKey(onChange) {
  $("key").value = sessionStorage.getItem(KEY) ?? "";
  $("key").addEventListener("change", () => {
    sessionStorage.setItem(KEY, $("key").value);
    problem("");
    onChange();
  });
}

export function problem(message) {
  $("problem").textContent = message;
  $("problem").hidden = !message;
}

export function note(id, message) {
  $(id).textContent = message;
  $(id).hidden = !message;
}

/** Hands the text to the browser as a file. */
export function save(text, type, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000); // the browser reads the file after this task
}

/** Copies the text; `button` says so for a moment. */
export async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed";
  }
  setTimeout(() => (button.textContent = "Copy"), 2_000);
}
