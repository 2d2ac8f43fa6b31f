"""Engines: whatever decodes windows. Only here does the core import torch and openai-whisper."""

from asr.engines.loading import load_engine

__all__ = ["load_engine"]
