// The list of jobs. An entry stays the same element while it changes, so that the keyboard's focus stays.

import { isUnfinished, nameOf } from "./batches.js";
import { clock } from "./formats.js";

const WHEN = { dateStyle: "medium", timeStyle: "short" };

export class JobList {
  /** `onAction` gets the batch and what to do: cancel, text, jsonl or errors. */
  constructor(list, template, onAction) {
    this.list = list;
    this.template = template;
    this.onAction = onAction;
    this.shown = new Map(); // id → {item, batch}
  }

  /** Shows these batches in this order; returns those that have ended since the last time. */
  show(batches) {
    const before = this.shown;
    this.shown = new Map();
    const ended = [];
    for (const batch of batches) {
      const { item, batch: earlier } = before.get(batch.id) ?? { item: this.#made(batch.id) };
      this.shown.set(batch.id, { item, batch });
      this.#fill(item, batch);
      if (earlier && isUnfinished(earlier) && !isUnfinished(batch)) ended.push(batch);
    }
    const items = [...this.shown.values()].map(({ item }) => item);
    for (const item of [...this.list.children]) if (!items.includes(item)) item.remove();
    items.forEach((item, index) => {
      if (this.list.children[index] !== item) this.list.insertBefore(item, this.list.children[index] ?? null);
    });
    return ended;
  }

  #made(id) {
    const item = this.template.content.firstElementChild.cloneNode(true);
    item.tabIndex = -1; // takes the focus of a button that goes
    item.addEventListener("click", ({ target }) => {
      const action = target.closest("button")?.dataset.action;
      if (action) this.onAction(this.shown.get(id).batch, action);
    });
    return item;
  }

  #fill(item, batch) {
    const name = nameOf(batch);
    const { total, completed, failed } = batch.request_counts;
    item.querySelector("h3").textContent = name;
    const when = new Date(batch.created_at * 1000);
    const time = item.querySelector("time");
    time.dateTime = when.toISOString();
    time.textContent = new Intl.DateTimeFormat(undefined, WHEN).format(when);
    const progress = item.querySelector("progress");
    progress.setAttribute("aria-label", `Progress of ${name}`);
    progress.hidden = !isUnfinished(batch);
    if (total) progress.value = (completed + failed) / total;
    item.querySelector(".status").textContent = statusOf(batch);
    const possible = {
      cancel: ["validating", "in_progress"].includes(batch.status),
      text: batch.output_file_id,
      jsonl: batch.output_file_id,
      errors: batch.error_file_id,
    };
    for (const button of item.querySelectorAll("button")) {
      if (document.activeElement === button && !possible[button.dataset.action]) item.focus();
      button.hidden = !possible[button.dataset.action];
      button.setAttribute("aria-label", `${button.textContent}: ${name}`);
    }
  }
}

/** How far a batch is, in words. */
export function statusOf(batch) {
  const { total, completed, failed } = batch.request_counts;
  const parts = [`${completed} of ${total} done`];
  if (failed) parts.push(`${failed} failed`);
  if (batch.audio_seconds.processed) parts.push(`${clock(batch.audio_seconds.processed)} of audio`);
  const counts = parts.join(", ");
  const words = {
    validating: "Checking …",
    in_progress: counts,
    finalizing: `Writing the results … ${counts}`,
    cancelling: `Stopping … ${counts}`,
    completed: counts,
    expired: `Ran out of time: ${counts}`,
    cancelled: `Cancelled: ${counts}`,
    failed: `Refused: ${batch.errors?.data[0]?.message ?? "no reason given"}`,
  };
  return words[batch.status] ?? batch.status;
}
