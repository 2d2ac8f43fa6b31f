"""transformers' names of OpenAI's weights (its models/whisper/convert_openai_to_hf.py, WHISPER_MAPPING)."""

from __future__ import annotations

PARTS = (
    ("decoder.token_embedding.", "decoder.embed_tokens."),
    (".positional_embedding", ".embed_positions.weight"),
    ("encoder.ln_post.", "encoder.layer_norm."),
    ("decoder.ln.", "decoder.layer_norm."),
    (".blocks.", ".layers."),
    (".cross_attn_ln.", ".encoder_attn_layer_norm."),
    (".attn_ln.", ".self_attn_layer_norm."),
    (".mlp_ln.", ".final_layer_norm."),
    (".cross_attn.", ".encoder_attn."),
    (".attn.", ".self_attn."),
    (".query.", ".q_proj."),
    (".key.", ".k_proj."),
    (".value.", ".v_proj."),
    (".out.", ".out_proj."),
    (".mlp.0.", ".fc1."),
    (".mlp.2.", ".fc2."),
)
PREFIX = "model."  # of WhisperForConditionalGeneration's tensors; WhisperModel's have none
PROJECTION = "proj_out.weight"  # to the vocabulary; often left out, because it is the token embedding


def huggingface_name(ours: str) -> str:
    """transformers' name of OpenAI's `encoder.blocks.0.attn.query.weight` and so on, without PREFIX."""
    theirs = ours
    for our_part, their_part in PARTS:
        theirs = theirs.replace(our_part, their_part)
    return theirs
