"""Folders of a few kB laid out as Paraformer and Moonshine, whose text follows from how long the sound is.

Both write their words in turn: one for each five frames of 60 ms, or for each twelve steps of 384 samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.asr.onnx_toys import INT32, INT64, Nodes, one_hot, write_tokens

FEATURES = 560  # seven frames of 80 in a row
FRAMES_PER_WORD, STEPS_PER_WORD = 5, 12
THIRDS_PER_WORD = 3 * FRAMES_PER_WORD  # Paraformer tells times by thirds of a frame
PARAFORMERS_WORDS = ("th@@", "ank", "you", "你", "好")
MOONSHINES_WORDS = ("▁ek", "▁do", "▁tin")
END = "</s>"
PARAFORMER = {
    "model_type": "paraformer",
    "lfr_window_size": "7",
    "lfr_window_shift": "6",
    "neg_mean": ",".join(["-8.0"] * FEATURES),
    "inv_stddev": ",".join(["0.25"] * FEATURES),
}


def write_paraformer(
    folder: Path, *, metadata: Mapping[str, str] = PARAFORMER, end: str = END, has_times: bool = True
) -> Path:
    """An offline Paraformer as FunASR exports it; without times it has two outputs only."""
    tokens = (*PARAFORMERS_WORDS, end)
    write_tokens(folder, tokens)
    graph = Nodes()
    frames = graph.size("speech", 1)
    lengths = graph.add("Cast", "speech_lengths", to=INT64)
    count = graph.add("Unsqueeze", graph.add("Div", lengths, FRAMES_PER_WORD), graph.constant([1]))
    places = graph.add("Range", 0, graph.add("Add", frames, 1), 1)
    turn = graph.add("Mod", places, len(PARAFORMERS_WORDS))
    said = graph.add("Where", graph.add("Less", places, count), turn, len(PARAFORMERS_WORDS))
    graph.add("Gather", graph.constant(one_hot(len(tokens))), said, name="logits", axis=0)
    graph.add("Identity", "speech_lengths", name="token_num")
    outputs = {"logits": ["batch", "words", len(tokens)], "token_num": (INT32, ["batch"])}
    if has_times:  # a peak at each word, and one behind the last
        thirds = graph.add("Range", 0, graph.add("Add", graph.add("Mul", frames, 3), 1), 1)
        is_peak = graph.add("Equal", graph.add("Mod", thirds, THIRDS_PER_WORD), 0)
        is_heard = graph.add("LessOrEqual", graph.add("Div", thirds, THIRDS_PER_WORD), count)
        graph.add("Cast", graph.add("And", is_peak, is_heard), name="us_cif_peak", to=1)
        graph.add("Identity", "us_cif_peak", name="us_alphas")
        outputs |= {"us_alphas": ["batch", "thirds"], "us_cif_peak": ["batch", "thirds"]}
    inputs = {"speech": ["batch", "frames", FEATURES], "speech_lengths": (INT32, ["batch"])}
    graph.save(folder / "model.onnx", inputs, outputs, vocab_size=str(len(tokens)), **metadata)
    return folder


def write_moonshine(folder: Path, *, end: str = END) -> Path:
    """Moonshine in four files."""
    tokens = ("<unk>", "<s>", end, *MOONSHINES_WORDS)
    write_tokens(folder, tokens)
    graph = Nodes()
    steps = graph.add("Unsqueeze", graph.add("Div", graph.size("audio", 1), 384), graph.constant([0]))
    shape = graph.add("Concat", graph.constant([1]), steps, graph.constant([1]), axis=0)
    graph.add("ConstantOfShape", shape, name="features")
    graph.save(folder / "preprocess.onnx", {"audio": [1, "samples"]}, {"features": [1, "steps", 1]})
    graph = Nodes()
    graph.add("Identity", "features", name="encoded")
    inputs = {"features": [1, "steps", 1], "length": (INT32, [1])}
    graph.save(folder / "encode.onnx", inputs, {"encoded": [1, "steps", 1]})
    for name, states in (("uncached_decode", ()), ("cached_decode", ("state",))):
        graph = Nodes()
        count = graph.add("Div", graph.size("encoded", 1), STEPS_PER_WORD)
        place = graph.add("Sub", graph.add("Cast", "length", to=INT64), 1)
        word = graph.add("Add", graph.add("Mod", place, len(MOONSHINES_WORDS)), 3)
        said = graph.add("Where", graph.add("Less", place, count), word, 2)
        said = graph.add("Unsqueeze", said, graph.constant([0]))
        graph.add("Gather", graph.constant(one_hot(len(tokens))), said, name="logits", axis=0)
        graph.add("Cast", "length", name="next_state", to=1)
        inputs = {"token": (INT32, [1, 1]), "encoded": [1, "steps", 1], "length": (INT32, [1])}
        outputs = {"logits": [1, 1, len(tokens)], "next_state": [1]}
        graph.save(folder / f"{name}.onnx", inputs | {state: [1] for state in states}, outputs)
    return folder
