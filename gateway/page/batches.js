// Batches, as the page of jobs talks to the server about them.

import { Refusal, headersFor, refusalOf } from "./server.js";

const ENDPOINT = "/v1/audio/transcriptions";
const TITLE = "title"; // in the metadata of a batch: what this page calls it
const UNFINISHED = ["validating", "in_progress", "finalizing", "cancelling"];

/**
 * Sends the files, one after another, and makes a batch of them; `onFile` gets the index of each before it is
 * sent. What was sent is deleted again if the batch is not made. Rejects with Refusal, or with AbortError if
 * `signal` fired.
 */
export async function submit(files, { model, language, key, signal, onFile }) {
  const sent = [];
  const send = async (blob, name, purpose) => {
    const { id } = await upload(blob, name, purpose, { key, signal });
    sent.push(id);
    return id;
  };
  try {
    const lines = [];
    for (const [index, name] of uniqueNames(files).entries()) {
      onFile(index);
      const file_id = await send(files[index], files[index].name, "user_data");
      const body = { model, language: language || undefined, file_id, response_format: "verbose_json" };
      lines.push(`${JSON.stringify({ custom_id: name, method: "POST", url: ENDPOINT, body })}\n`);
    }
    const input_file_id = await send(new Blob(lines), "requests.jsonl", "batch");
    const metadata = { [TITLE]: titleOf(files) };
    const batch = { input_file_id, endpoint: ENDPOINT, completion_window: "24h", metadata };
    const json = { "Content-Type": "application/json" };
    return await ask("v1/batches", { method: "POST", body: JSON.stringify(batch), key, signal, headers: json });
  } catch (error) {
    await Promise.allSettled(sent.map((id) => ask(`v1/files/${id}`, { method: "DELETE", key })));
    throw error;
  }
}

/** {data, has_more}: the newest batches of the key. */
export function fetchBatches(key, limit) {
  return ask(`v1/batches?limit=${limit}`, { key });
}

export function cancelBatch(id, key) {
  return ask(`v1/batches/${id}/cancel`, { method: "POST", key });
}

/** The text of a file: JSON lines. */
export async function fetchLines(fileId, key) {
  return (await answer(`v1/files/${fileId}/content`, { key })).text();
}

/** JSON lines of an output file → a text to read: each name, and below it what was said. */
export function readable(lines) {
  const results = lines.split("\n").filter(Boolean).map((line) => JSON.parse(line));
  return results.map(({ custom_id, response }) => `${custom_id}\n\n${wordsOf(response.body)}\n`).join("\n\n");
}

export function isUnfinished(batch) {
  return UNFINISHED.includes(batch.status);
}

/** What the batch is called; one that another program made has its id. */
export function nameOf(batch) {
  return batch.metadata?.[TITLE] || batch.id;
}

function wordsOf(body) {
  return (typeof body === "string" ? body : body.text).trim();
}

/** The names of the files; a batch takes none twice, nor more than 512 characters. */
function uniqueNames(files) {
  const seen = new Set();
  return Array.from(files, ({ name }) => {
    let unique = name.slice(-500);
    for (let count = 2; seen.has(unique); count += 1) unique = `${name.slice(-500)} (${count})`;
    seen.add(unique);
    return unique;
  });
}

function titleOf(files) {
  const more = files.length > 1 ? ` and ${files.length - 1} more` : "";
  return files[0].name.slice(0, 400) + more;
}

function upload(blob, name, purpose, { key, signal }) {
  const form = new FormData();
  form.append("purpose", purpose);
  form.append("file", blob, name);
  return ask("v1/files", { method: "POST", body: form, key, signal });
}

async function ask(path, options) {
  return (await answer(path, options)).json();
}

async function answer(path, { key, headers = {}, ...options }) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...headersFor(key), ...headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The connection to the server broke. Is it still running?");
  }
  if (!response.ok) throw await refusalOf(response);
  return response;
}
