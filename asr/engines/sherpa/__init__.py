"""Families beside Whisper, run by sherpa-onnx: CTC models, transducers, Paraformer and Moonshine."""
