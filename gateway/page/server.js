// The server, as this page talks to it. Paths are relative, so the page also works below a prefix.

import { eventParser } from "./sse.js";

const WAIT_HINT_S = 120; // longer waits are not worth a number

/** The answer of the server, or of a proxy before it, in place of a transcript. */
export class Refusal extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

export function headersFor(key) {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** The page's own settings: languages, limits, and whether there are jobs. */
export async function fetchSettings() {
  const response = await fetch("page/settings.json");
  if (!response.ok) throw await refusalOf(response);
  return response.json();
}

/** The models that `key` may use, each once, under the first of its names. */
export async function fetchModels(key) {
  const response = await fetch("v1/models", { headers: headersFor(key) });
  if (!response.ok) throw await refusalOf(response);
  const listed = (await response.json()).data;
  return listed.filter((model, index) => listed.findIndex(({ root }) => root === model.root) === index);
}

/**
 * Sends `file` and calls `onEvent` with each event of the transcript as it arrives, `onUpload` with the
 * fraction sent. Resolves after the done event; rejects with Refusal, or with AbortError if `signal` fired.
 *
 * XMLHttpRequest, because fetch does not tell how much of a body it has sent.
 */
export function transcribe(file, { model, language, key, signal, onUpload, onEvent }) {
  const request = new XMLHttpRequest();
  const feed = eventParser();
  let seen = 0;
  let finished = false;

  function takeEvents() {
    if (request.status !== 200) return;
    const fresh = request.responseText.slice(seen);
    seen += fresh.length;
    for (const data of feed(fresh)) {
      if (data === "[DONE]") continue;
      const event = JSON.parse(data);
      if (event.type === "error") throw new Refusal(event.error?.message ?? "The transcription failed.", 200);
      if (event.type === "transcript.text.done") finished = true;
      onEvent(event);
    }
  }

  return new Promise((resolve, reject) => {
    const attempt = (step) => () => {
      try {
        step();
      } catch (error) {
        reject(error);
        request.abort();
      }
    };
    request.upload.onprogress = ({ loaded, total }) => onUpload(total ? loaded / total : 0);
    request.upload.onload = () => onUpload(1);
    request.onprogress = attempt(takeEvents);
    request.onload = attempt(() => {
      if (request.status !== 200) throw refusal(request.status, request.responseText, request.getResponseHeader("Retry-After"));
      takeEvents();
      if (!finished) throw new Refusal("The connection ended before the transcript was complete. Try again.");
      resolve();
    });
    request.onerror = () => reject(new Refusal("The connection to the server broke. Is it still running?"));
    request.onabort = () => reject(new DOMException("Cancelled", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.open("POST", "v1/audio/transcriptions");
    for (const [name, value] of Object.entries(headersFor(key))) request.setRequestHeader(name, value);
    request.send(formOf(file, { model, language }));
  });
}

function formOf(file, { model, language }) {
  const form = new FormData();
  if (model) form.append("model", model);
  if (language) form.append("language", language);
  form.append("response_format", "json");
  form.append("stream", "true");
  form.append("file", file, file.name);
  return form;
}

/** Why the server did not do what it was asked. */
export async function refusalOf(response) {
  return refusal(response.status, await response.text(), response.headers.get("Retry-After"));
}

/** The error body, OpenAI's or another one, as a sentence. */
function refusal(status, body, retryAfter) {
  let message = `The server answered ${status}.`;
  try {
    message = JSON.parse(body).error?.message || message;
  } catch {
    // not JSON: a proxy's page; its status says enough
  }
  const wait = Number(retryAfter);
  const saysAgain = /try again/i.test(message); // by this server; a proxy before it says less
  if (!saysAgain && wait > 0 && wait <= WAIT_HINT_S) message += ` Try again in ${wait} s.`;
  return new Refusal(message, status);
}
