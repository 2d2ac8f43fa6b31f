"""Sets up TorchServe around a checkpoint and supervises it: the inside of serve.sh.

options → models, hub (the checkpoint) → settings (effective configuration) → archive (whisper.mar) →
java + process (TorchServe) → readiness (a real transcription) → supervise (until a signal).
"""
