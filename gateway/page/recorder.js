// The microphone, through MediaRecorder.

const TYPES = [
  ["audio/webm;codecs=opus", "webm"],
  ["audio/ogg;codecs=opus", "ogg"],
  ["audio/mp4", "m4a"],
];

/** Why this browser cannot record here, or an empty string. */
export function whyNotRecord() {
  if (!window.isSecureContext) return "Recording needs https, or localhost.";
  if (!navigator.mediaDevices?.getUserMedia || !window.MediaRecorder) return "This browser cannot record.";
  return "";
}

/** Starts recording; `stop()` of the result resolves with the File. Rejects if the microphone is refused. */
export async function startRecording() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const [mimeType, extension] = TYPES.find(([type]) => MediaRecorder.isTypeSupported(type)) ?? ["", "webm"];
  const recorder = new MediaRecorder(stream, mimeType ? { mimeType } : {});
  const pieces = [];
  recorder.ondataavailable = ({ data }) => data.size && pieces.push(data);
  recorder.start(1000); // in pieces, so that an error loses a piece and not a long recording
  return {
    stop: () =>
      new Promise((resolve) => {
        recorder.onstop = () => {
          stream.getTracks().forEach((track) => track.stop());
          const type = recorder.mimeType || mimeType;
          resolve(new File(pieces, `recording.${extension}`, { type }));
        };
        recorder.stop();
      }),
  };
}

/** The message for someone whose microphone did not open. */
export function microphoneProblem(error) {
  if (error.name === "NotAllowedError") return "The microphone is blocked. Allow it in the browser's address bar.";
  if (error.name === "NotFoundError") return "No microphone was found.";
  return `The microphone did not open: ${error.message}`;
}
