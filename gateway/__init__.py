"""The front door: OpenAI's audio API over TorchServe servers, with no model and no torch of its own."""
