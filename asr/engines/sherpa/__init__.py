"""Families beside Whisper, run by sherpa-onnx: NeMo's CTC models and icefall's transducers."""
