// The choice of a model, and sizes in words.

import { $ } from "./shared.js";

/** Offers the models where there is a choice; one that was made stays. */
export function offerModels(models) {
  const select = $("model-choice");
  const chosen = select.value;
  select.replaceChildren(...models.map((model) => new Option(labelOf(model), model.id)));
  if (models.some(({ id }) => id === chosen)) select.value = chosen;
  $("model-field").hidden = models.length < 2;
}

function labelOf({ id, languages = [], state }) {
  const spoken = languages.length ? ` for ${languages.join(", ")}` : "";
  const hint = { unloaded: " (loads first)", down: " (down)", loading: " (loading)" }[state] ?? "";
  return id + spoken + hint;
}

export function size(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${Math.floor(bytes / 1e6)} MB`;
}

export function hours(seconds) {
  return seconds < 7200 ? `${Math.floor(seconds / 60)} minutes` : `${+(seconds / 3600).toFixed(1)} hours`;
}
