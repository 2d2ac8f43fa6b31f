"""Between TorchServe and the core: rows become sessions, results become replies, log lines and metrics.

Nothing here imports `ts`: `whisper_handler.py` hands in what it takes from there.
"""
