"""MAGNeT as audiocraft publishes it (`facebook/magnet-small-10secs` …): `state_dict.bin` with weights and their settings.

The file is a pickle of `best_state`, tensors by name, and `xp.cfg`, the settings as YAML text. The codec, which the settings
name, and T5 are files of their own and not read here. MusicGen's weights have the same names, but they are not asked for
masked spans.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from speechgen.core.config import validate
from speechgen.core.errors import UserError
from speechgen.core.weights import find_file, read_weights
from speechgen.models.text_to_codes.magnet.config import MAGNeTConfig
from speechgen.published import About, Imported

__all__ = ["ABOUT", "convert", "infer_config", "read"]

ABOUT = About(
    model="magnet",
    origin="huggingface.co/facebook, magnet-* and audio-magnet-*",
    licence="CC-BY-NC-4.0: not for commercial use",
    files=("state_dict.bin",),
    pulls={
        "magnet-small-10secs": "facebook/magnet-small-10secs",
        "magnet-medium-10secs": "facebook/magnet-medium-10secs",
        "magnet-small-30secs": "facebook/magnet-small-30secs",
        "magnet-medium-30secs": "facebook/magnet-medium-30secs",
        "audio-magnet-small": "facebook/audio-magnet-small",
        "audio-magnet-medium": "facebook/audio-magnet-medium",
    },
)
FRAME_RATE, HEAD_WIDTH = 50.0, 64
_CODECS = {"facebook/encodec_32khz": "encodec-32khz"}
"""Names of codecs to pull by what the settings call them."""
_TEXT = "condition_provider.conditioners.description.output_proj."
_NAMES = (
    (r"out_norm\.", "norm."),
    (re.escape(_TEXT), "text."),
    (r"transformer\.layers\.(\d+)\.self_attn\.in_proj_weight$", r"blocks.\1.attention.qkv.weight"),
    (r"transformer\.layers\.(\d+)\.self_attn\.out_proj\.", r"blocks.\1.attention.out."),
    (r"transformer\.layers\.(\d+)\.cross_attention\.out_proj\.", r"blocks.\1.cross.out."),
    (r"transformer\.layers\.(\d+)\.linear1\.", r"blocks.\1.ff.0."),
    (r"transformer\.layers\.(\d+)\.linear2\.", r"blocks.\1.ff.3."),
    (r"transformer\.layers\.(\d+)\.norm1\.", r"blocks.\1.self_norm."),
    (r"transformer\.layers\.(\d+)\.norm_cross\.", r"blocks.\1.cross_norm."),
    (r"transformer\.layers\.(\d+)\.norm2\.", r"blocks.\1.ff_norm."),
)
_CROSS = re.compile(r"transformer\.layers\.(\d+)\.cross_attention\.in_proj_weight$")
_BOOK = re.compile(r"(emb|linears)\.(\d+)\.weight$")


def read(source: Path) -> Imported:
    """Read `state_dict.bin`, or the folder it is in.

    Raises:
        UserError: it cannot be read, or is no MAGNeT.
    """
    path = find_file(source, ABOUT.files)
    content = read_weights(path)
    weights = content.get("best_state")
    if not isinstance(weights, dict) or not isinstance(content.get("xp.cfg"), str):
        raise UserError(f"{path} has no best_state and xp.cfg: give the state_dict.bin of a published MAGNeT")
    published = {key: value for key, value in weights.items() if isinstance(value, Tensor)}
    settings = _settings(content["xp.cfg"], path)
    config = infer_config(published, settings, path)
    notes = (
        f"licence of the weights: {ABOUT.licence}",
        f"it reads descriptions with {config.t5}, which is fetched apart; --set t5=FOLDER names a folder that holds it",
    )
    return Imported(config, convert(published), notes, _CODECS.get(_repository(settings)))


def _repository(settings: Mapping[str, Any]) -> str:
    """Which of the hub's repositories holds the codec; empty if it is none of them, as that of audio-magnet."""
    told = str(_get(settings, "compression_model_checkpoint") or "")
    return told.removeprefix("//pretrained/")


def convert(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights under our names, as float32; the tables of all codebooks one after another, as are the heads.

    Raises:
        UserError: naming weights that no MAGNeT has.
    """
    books: dict[str, dict[int, Tensor]] = {"emb": {}, "linears": {}}
    state: dict[str, Tensor] = {}
    strange = []
    for key, value in published.items():
        if match := _BOOK.match(key):
            books[match[1]][int(match[2])] = value.float()
        elif match := _CROSS.match(key):
            q, kv = value.float().split([value.shape[1], 2 * value.shape[1]])
            state[f"blocks.{match[1]}.cross.q.weight"], state[f"blocks.{match[1]}.cross.kv.weight"] = q, kv
        else:
            name = next((re.sub(old, new, key) for old, new in _NAMES if re.match(old, key)), None)
            if name is None:
                strange.append(key)
            else:
                state[name] = value.float()
    if strange:
        raise UserError(f"weights that no MAGNeT has: {', '.join(strange[:5])}: is it another model?")
    for ours, theirs in (("codes", "emb"), ("heads", "linears")):
        state[f"{ours}.weight"] = torch.cat([books[theirs][book] for book in sorted(books[theirs])])
    return state


def infer_config(published: Mapping[str, Tensor], settings: Mapping[str, Any], path: Path) -> MAGNeTConfig:
    """Read the sizes off the shapes, and how long, how restricted and in which spans off the settings.

    Raises:
        UserError: something is missing.
    """
    try:
        rows, width = published["emb.0.weight"].shape
        inner = published["transformer.layers.0.linear1.weight"].shape[0]
        t5_width = published[f"{_TEXT}weight"].shape[1]
        seconds = float(settings["dataset"]["segment_duration"])
        masking = settings["masking"]
        span = int(masking["span_len"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is no published MAGNeT: it lacks {error}") from error
    found = {
        "num_codebooks": sum(1 for key in published if key.startswith("emb.")),
        "codebook_size": rows - 1,
        "code_rate": FRAME_RATE,
        "max_frames": round(seconds * FRAME_RATE),
        "fixed_length": True,
        "width": width,
        "depth": 1 + max(int(match[1]) for key in published if (match := re.match(r"transformer\.layers\.(\d+)\.", key))),
        "num_heads": int(_get(settings, "transformer_lm", "num_heads") or width // HEAD_WIDTH),
        "ff_multiple": inner // width,
        "dropout": 0.0,
        "reach": int(_get(settings, "transformer_lm", "subcodes_context") or 5),
        "span": span,
        "text": "t5",
        "t5": str(_get(settings, "conditioners", "description", "t5", "name") or "t5-base"),
        "t5_width": t5_width,
        "attend_padding": True,
    }
    return validate(MAGNeTConfig, found, str(path))


def _settings(text: str, path: Path) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"the settings in {path} are not YAML ({' '.join(str(error).split())[:100]})") from error
    if not isinstance(settings, dict):
        raise UserError(f"the settings in {path} are no mapping: give the state_dict.bin of a published MAGNeT")
    return settings


def _get(settings: Mapping[str, Any], *path: str) -> Any:
    """A value some levels down, None where there is none."""
    value: Any = settings
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value
