"""Small speech models that are not Whisper, for sherpa-onnx: a conformer CTC and a streaming transducer."""
