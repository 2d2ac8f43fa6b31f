"""The engine on ONNX Runtime: graphs written from the checkpoint, caches shared with torch."""
