// Segments from the events → the files that a person saves. Times are rounded once, to whole
// milliseconds, and stay whole: 59.9996 s is 00:01:00,000.

const FLASH_MS = 500; // duration of a text that has none, if there is room

export const FORMATS = {
  txt: { type: "text/plain;charset=utf-8", make: (transcript) => `${transcript.text.trim()}\n` },
  srt: { type: "application/x-subrip;charset=utf-8", make: (transcript) => srt(cues(transcript.segments)) },
  vtt: { type: "text/vtt;charset=utf-8", make: (transcript) => vtt(cues(transcript.segments)) },
  json: { type: "application/json", make: (transcript) => `${JSON.stringify(transcript, null, 2)}\n` },
};

/** [{startMs, endMs, text}], in order and disjoint. No text is lost: one without time left joins its neighbour. */
export function cues(segments) {
  const timed = segments
    .map(({ start, end, text }) => ({ startMs: milliseconds(start), endMs: milliseconds(end), text: oneLine(text) }))
    .filter(({ text }) => text);
  const made = [];
  timed.forEach(({ startMs, endMs, text }, index) => {
    const last = made.at(-1);
    startMs = Math.max(startMs, last?.endMs ?? 0);
    if (endMs <= startMs) {
      endMs = Math.min(startMs + FLASH_MS, timed[index + 1]?.startMs ?? Infinity);
    }
    if (endMs > startMs) made.push({ startMs, endMs, text });
    else if (last) last.text += ` ${text}`;
    else made.push({ startMs, endMs: startMs + 1, text });
  });
  return made;
}

export function milliseconds(seconds) {
  return Math.round(seconds * 1000);
}

/** 1:02:03 or 2:03, for eyes. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n) => String(n).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

function srt(made) {
  return made
    .map((cue, i) => `${i + 1}\n${timestamp(cue.startMs, ",")} --> ${timestamp(cue.endMs, ",")}\n${cue.text}\n\n`)
    .join("");
}

function vtt(made) {
  const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  const blocks = made.map(
    (cue) => `${timestamp(cue.startMs, ".")} --> ${timestamp(cue.endMs, ".")}\n${escaped(cue.text)}\n\n`,
  );
  return `WEBVTT\n\n${blocks.join("")}`;
}

function timestamp(ms, decimalMark) {
  const part = (value, width) => String(value).padStart(width, "0");
  const [h, m, s] = [Math.floor(ms / 3_600_000), Math.floor(ms / 60_000) % 60, Math.floor(ms / 1000) % 60];
  return `${part(h, 2)}:${part(m, 2)}:${part(s, 2)}${decimalMark}${part(ms % 1000, 3)}`;
}

/** The text on one line, without an arrow, which a parser would take for times. */
function oneLine(text) {
  return text.trim().replace(/\s+/g, " ").replace(/-{2,}>/g, "->");
}
