"""ONNX Runtime, silent: its Linux wheels report to their maker from the import on, unless told not to."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime

__all__ = ["onnxruntime"]
