"""Between TorchServe and the core: rows become sessions, results become replies, log lines and metrics.

Nothing here imports `ts`: `whisper_handler.py` passes in the parts of it that are needed.
"""
