"""A T5 with random weights, in the layout that is published: for tests of what reads descriptions with one."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import T5Config, T5Model

WORDS = ("a", "slow", "waltz", "dog", "barking")


def save_t5(folder: Path, width: int = 20) -> Path:
    """Write config.json, tokenizer.json, tokenizer_config.json and model.safetensors, encoder and decoder as published."""
    pieces = ["<pad>", "</s>", "<unk>", "▁", *(f"▁{word}" for word in WORDS)]
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0 - n) for n, piece in enumerate(pieces)], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    torch.manual_seed(0)
    size = {"d_model": width, "d_kv": 8, "d_ff": 32, "num_heads": 2, "num_layers": 2}
    T5Model(T5Config(vocab_size=len(pieces), **size)).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    told = {
        "tokenizer_class": "T5TokenizerFast",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "extra_ids": 0,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    return folder
