"""E2 TTS and F5-TTS as their re-implementers publish them (`SWivid/E2-TTS`, `SWivid/F5-TTS`): weights and a `vocab.txt` beside.

Three families share one layout. E2TTS_Base has a U of blocks, F5TTS_Base and F5TTS_v1_Base a row of them; these two have
the same names and shapes and differ in what is computed (heads that know positions, fillers held at zero), so that the
folder's name must tell them apart. `.safetensors` hold the averaged weights, `.pt` a training state with them in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from speechgen.core.config import validate
from speechgen.core.errors import UserError
from speechgen.core.types import MelSettings
from speechgen.core.weights import find_file, read_weights, tensors
from speechgen.models.text_to_mel.f5_tts.config import F5Config
from speechgen.published import About, Imported, foreign

__all__ = ["ABOUT", "convert", "infer_config", "read"]

ABOUT = About(
    model="f5_tts",
    origin="huggingface.co/SWivid/F5-TTS or huggingface.co/SWivid/E2-TTS",
    licence="CC-BY-NC-4.0: not for commercial use",
    files=("*.safetensors", "*.pt", "vocab.txt"),
    pulls={
        "e2tts-base": "SWivid/E2-TTS/E2TTS_Base",
        "f5tts-base": "SWivid/F5-TTS/F5TTS_Base",
        "f5tts-v1-base": "SWivid/F5-TTS/F5TTS_v1_Base",
    },
)
_AVERAGED, _NETWORK = "ema_model.", "transformer."
_BESIDE = ("mel_spec.", "initted", "step")
_CONSTANTS = ("rotary_embed.inv_freq", "text_embed.freqs_cis")
_NAMES = (
    (r"text_embed\.text_embed\.", "symbols."),
    (r"text_embed\.text_blocks\.(\d+)\.grn\.", r"text_blocks.\1."),
    (r"text_embed\.text_blocks\.", "text_blocks."),
    (r"input_embed\.proj\.", "project."),
    (r"input_embed\.conv_pos_embed\.conv1d\.0\.", "position.first."),
    (r"input_embed\.conv_pos_embed\.conv1d\.2\.", "position.second."),
    (r"time_embed\.time_mlp\.", "time.perceptron."),
    (r"proj_out\.", "out."),
    (r"norm_out\.linear\.", "norm.modulation."),
    (r"norm_out\.g$", "norm.weight"),
    (r"layers\.(\d+)\.1\.g$", r"blocks.\1.attention_norm.weight"),
    (r"layers\.(\d+)\.2\.to_out\.0\.", r"blocks.\1.attention.out."),
    (r"layers\.(\d+)\.3\.g$", r"blocks.\1.ff_norm.weight"),
    (r"layers\.(\d+)\.4\.ff\.0\.0\.", r"blocks.\1.ff.0."),
    (r"layers\.(\d+)\.4\.ff\.2\.", r"blocks.\1.ff.3."),
    (r"transformer_blocks\.(\d+)\.attn_norm\.linear\.", r"blocks.\1.modulation."),
    (r"transformer_blocks\.(\d+)\.attn\.to_out\.0\.", r"blocks.\1.attention.out."),
    (r"transformer_blocks\.(\d+)\.ff\.ff\.0\.0\.", r"blocks.\1.ff.0."),
    (r"transformer_blocks\.(\d+)\.ff\.ff\.2\.", r"blocks.\1.ff.3."),
)
_QUERY = re.compile(r"(?:layers\.(\d+)\.2|transformer_blocks\.(\d+)\.attn)\.to_q\.(weight|bias)$")
_MERGE = re.compile(r"layers\.(\d+)\.0\.weight$")


def read(source: Path) -> Imported:
    """Read the folder of one family, or the file of weights in it; `vocab.txt` lies beside or above.

    Raises:
        UserError: it cannot be read, is none of the three, or has another vocabulary.
    """
    path = find_file(source, [name for name in ABOUT.files if name != "vocab.txt"])
    with foreign(path, "E2 or F5"):
        published = _averaged(read_weights(path), path)
        vocabulary = _vocabulary(path)
        config = infer_config(published, vocabulary, path)
        return Imported(config, convert(published), notes=(f"licence of the weights: {ABOUT.licence}",))


def convert(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the parameters of a published network, without constants that ours computes, under our names.

    Raises:
        UserError: naming weights that no family has.
    """
    depth = 1 + max((int(match[1]) for key in published if (match := re.match(r"layers\.(\d+)\.", key))), default=-1)
    state: dict[str, Tensor] = {}
    strange = []
    for key, value in published.items():
        if match := _QUERY.match(key):
            index, kind = match[1] or match[2], match[3]
            names = [key.replace("to_q", name) for name in ("to_q", "to_k", "to_v")]
            if missing := [name for name in names if name not in published]:
                raise UserError(f"the weights lack {', '.join(missing)}: is the file whole?")
            state[f"blocks.{index}.attention.qkv.{kind}"] = torch.cat([published[name] for name in names])
        elif match := _MERGE.match(key):
            state[f"merges.{int(match[1]) - depth // 2}.weight"] = value
        elif key not in _CONSTANTS and ".to_k." not in key and ".to_v." not in key:
            name = next((re.sub(old, new, key) for old, new in _NAMES if re.match(old, key)), None)
            if name is None:
                strange.append(key)
            else:
                state[name] = value.reshape(-1) if ".grn." in key else value
    if strange:
        raise UserError(f"weights that no published E2 or F5 has: {', '.join(strange[:5])}: is it another model?")
    return state


def infer_config(published: Mapping[str, Tensor], vocabulary: tuple[str, ...], path: Path) -> F5Config:
    """Read the sizes off the shapes, and which of the two F5 it is off the path.

    Args:
        published: names without prefixes.
        vocabulary: of the text.
        path: of the weights.

    Raises:
        UserError: something is missing, or the vocabulary is another.
    """
    try:
        rows, text_width = published["text_embed.text_embed.weight"].shape
        bins, width = published["proj_out.weight"].shape
        unet = "norm_out.g" in published
        inner = published["layers.0.4.ff.0.0.weight" if unet else "transformer_blocks.0.ff.ff.0.0.weight"].shape[0]
    except KeyError as error:
        raise UserError(f"{path} is no published E2 or F5: it has no weight {error}") from error
    if rows != len(vocabulary) + 1:
        raise UserError(
            f"vocab.txt beside {path.name} has {len(vocabulary)} symbols, the weights know {rows - 1}: "
            "take the one they came with"
        )
    blocks = {int(match[1]) for key in published if (match := re.match(r"(?:layers|transformer_blocks)\.(\d+)\.", key))}
    texts = {match[1] for key in published if (match := re.match(r"text_embed\.text_blocks\.(\d+)\.", key))}
    first = unet or not _is_v1(path)
    settings: dict[str, Any] = {
        "mel": MelSettings(num_bins=bins),
        "vocabulary": vocabulary,
        "backbone": "unet" if unet else "dit",
        "width": width,
        "depth": len(blocks),
        "num_heads": width // _head_width(published),
        "ff_multiple": inner // width,
        "text_width": text_width,
        "text_layers": len(texts),
        "mask_filler": not first,
        "rotary_heads": 1 if first else None,
        "segmented": True,
    }
    return validate(F5Config, settings, str(path))


def _averaged(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The network in a file: the averaged weights, without prefixes and without what is no weight of it."""
    group = content.get("ema_model_state_dict", content.get("model_state_dict", content))
    named = {key.removeprefix(_AVERAGED): value for key, value in tensors(group, path).items()}
    return {key.removeprefix(_NETWORK): value for key, value in named.items() if not key.startswith(_BESIDE)}


def _vocabulary(path: Path) -> tuple[str, ...]:
    """One symbol a line; a line may be a space, and the first is."""
    for folder in (path.parent, path.parent.parent):
        if (folder / "vocab.txt").is_file():
            try:
                lines = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
            except UnicodeDecodeError as error:
                raise UserError(f"{folder / 'vocab.txt'} is not UTF-8 text ({error}): copy it again") from error
            return tuple(lines[:-1] if lines[-1] == "" else lines)
    raise UserError(f"there is no vocab.txt beside {path}: copy the one that was published with the weights")


def _is_v1(path: Path) -> bool:
    """Whether it is F5 v1: its weights look as those of v0 do."""
    place = "/".join(path.absolute().parts[-3:]).lower()
    if "v1" in place:
        return True
    if "f5tts_base" in place:
        return False
    raise UserError(
        f"{path} may be F5TTS_Base or F5TTS_v1_Base, which compute differently with weights of the same names: "
        "keep them in a folder of that name"
    )


def _head_width(published: Mapping[str, Tensor]) -> int:
    """All published models have heads of 64."""
    frequencies = published.get("rotary_embed.inv_freq")
    return 64 if frequencies is None else 2 * len(frequencies)
