"""Seeded random checkpoints in OpenAI's file format, small enough to decode in milliseconds.

The words mean nothing, but they behave: they depend on the audio, the prompt and the position, timestamps
come in between, and sequences end at different lengths.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from whisper.model import ModelDimensions, Whisper

MULTILINGUAL, LARGE_V3, ENGLISH_ONLY = 51_865, 51_866, 51_864


def dims(
    n_vocab: int = MULTILINGUAL, n_mels: int = 80, state: int = 64, layers: int = 2, heads: int = 2
) -> ModelDimensions:
    """openai-whisper's sizes of a model with the same small state in encoder and decoder."""
    return ModelDimensions(
        n_mels=n_mels,
        n_audio_ctx=1500,
        n_audio_state=state,
        n_audio_head=heads,
        n_audio_layer=layers,
        n_vocab=n_vocab,
        n_text_ctx=448,
        n_text_state=state,
        n_text_head=heads,
        n_text_layer=layers,
    )


def random_model(sizes: ModelDimensions, seed: int = 0, end_weight: float = 2.5) -> Whisper:
    """openai-whisper's model with random weights; a larger `end_weight` ends sequences earlier."""
    generator = torch.Generator().manual_seed(seed)
    model = Whisper(sizes)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "ln" in name.rsplit(".", 2)[-2]:
            parameter.data = (1.0 if name.endswith("weight") else 0.0) + 0.1 * noise
        elif name.endswith("token_embedding.weight"):
            parameter.data = 0.4 * noise  # logits of deviation 0.4 * sqrt(state): about 3
        elif parameter.ndim == 1:
            parameter.data = 0.1 * noise
        elif name.endswith("positional_embedding"):
            parameter.data = noise
        else:
            fan_in = parameter[0].numel()
            # sharp attention: otherwise every token would see the same mean of the audio
            gain = 2.5 if ".query." in name or ".key." in name or "cross_attn" in name else 1.0
            parameter.data = gain * noise / fan_in**0.5
    _centre_hidden_states(model, generator)
    embedding = model.decoder.token_embedding.weight.data
    eot, timestamp_begin = 50_257 - (sizes.n_vocab < MULTILINGUAL), sizes.n_vocab - 1_501
    embedding[eot] *= end_weight
    embedding[timestamp_begin - 2] *= end_weight  # no_speech: its probability is worth comparing
    embedding[timestamp_begin:] *= 1.1
    return model.eval()


@torch.no_grad()
def _centre_hidden_states(model: Whisper, generator: torch.Generator) -> None:
    """Take the mean of the last hidden states out of them: it would win every step for the same token."""
    sizes = model.dims
    seen: list[torch.Tensor] = []
    hook = model.decoder.ln.register_forward_hook(lambda _, __, out: seen.append(out))
    mel = torch.randn(2, sizes.n_mels, 3000, generator=generator)
    model(mel, torch.randint(0, 50_000, (2, 224), generator=generator))
    hook.remove()
    model.decoder.ln.bias.data -= seen[0].mean((0, 1))


def save_checkpoint(model: Whisper, path: Path) -> Path:
    """Write a model as OpenAI's files are, and return the path."""
    torch.save({"dims": vars(model.dims), "model_state_dict": model.state_dict()}, path)
    return path


def random_checkpoint(folder: Path, sizes: ModelDimensions | None = None, seed: int = 0) -> Path:
    """A checkpoint file in `folder`."""
    model = random_model(sizes or dims(), seed)
    return save_checkpoint(model, folder / f"random-{model.dims.n_vocab}-{seed}.pt")


def random_audio(seconds: float, seed: int = 0, level: float = 0.2) -> NDArray[np.int16]:
    """int16 PCM at 16 kHz: gliding tones that come and go, and a little noise."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * 16_000)) / 16_000
    sound = 0.02 * random.standard_normal(len(time))
    for _ in range(6):
        low, high = random.uniform(100, 3_500, 2)
        pace, phase = random.uniform(0.3, 3.0), random.uniform(0, 6)
        envelope = np.clip(np.sin(2 * np.pi * pace * time + phase), 0, 1)
        sound += envelope * np.sin(2 * np.pi * (low + (high - low) * time / 60) * time)
    return np.clip(sound * level * 32_768 / 2, -32_768, 32_767).astype(np.int16)
