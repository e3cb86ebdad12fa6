"""MAGNeT as audiocraft publishes it (`facebook/magnet-small-10secs` …): `state_dict.bin` with weights and their settings.

The file is a pickle of `best_state`, tensors by name, and `xp.cfg`, the settings as YAML text. The codec, which the settings
name or `compression_state_dict.bin` holds (published/encodec), and T5 are files of their own and not read here. MusicGen's
weights have the same names, but they are not asked for masked spans.
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
from speechgen.core.weights import find_file, read_weights, tensors
from speechgen.models.text_to_codes.magnet.config import MAGNeTConfig
from speechgen.published import About, Imported, audiocraft_settings, foreign, setting

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
_CODECS = {"//pretrained/facebook/encodec_32khz": "encodec-32khz", "//reference/bd44a852/checkpoint.th": "encodec-16khz"}
"""Names of codecs to pull by what the settings call them."""
_MUSIC = {"temp": 3.0, "top_p": 0.9, "max_cfg_coef": 10.0, "min_cfg_coef": 1.0}
_SOUND = {"temp": 3.5, "top_p": 0.8, "max_cfg_coef": 20.0, "min_cfg_coef": 1.0}
"""How magnet-* and audio-magnet-* are sampled where their settings do not say (audiocraft, config/solver/magnet)."""
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
    if not isinstance(content.get("best_state"), dict) or not isinstance(content.get("xp.cfg"), str):
        raise UserError(f"{path} has no best_state and xp.cfg: give the state_dict.bin of a published MAGNeT")
    with foreign(path, "MAGNeT"):
        published, settings = tensors(content["best_state"], path), audiocraft_settings(content["xp.cfg"], path)
        config = infer_config(published, settings, path)
        notes = (
            f"licence of the weights: {ABOUT.licence}",
            f"it reads descriptions with {config.t5}, which is fetched apart; --set t5=FOLDER names a folder that holds it",
        )
        return Imported(config, convert(published), notes, _codec(settings))


def _codec(settings: Mapping[str, Any]) -> str | None:
    """Name of the codec to pull; None if it has none."""
    told = str(setting(settings, "compression_model_checkpoint"))
    return _CODECS.get(told, "encodec-16khz" if _makes_sound(settings) else None)


def _makes_sound(settings: Mapping[str, Any]) -> bool:
    """Whether it is an audio-magnet and not one for music."""
    return setting(settings, "sample_rate") == 16000


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
    """Read the sizes off the shapes, and how long, how restricted, in which spans and how it is sampled off the settings.

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
    usual = _SOUND if _makes_sound(settings) else _MUSIC
    told = {name: setting(settings, "generate", "lm", name) for name in usual}
    sampling = {name: value if told[name] is None else float(told[name]) for name, value in usual.items()}
    found = {
        "num_codebooks": sum(1 for key in published if key.startswith("emb.")),
        "codebook_size": rows - 1,
        "code_rate": FRAME_RATE,
        "max_frames": round(seconds * FRAME_RATE),
        "fixed_length": True,
        "width": width,
        "depth": 1 + max(int(match[1]) for key in published if (match := re.match(r"transformer\.layers\.(\d+)\.", key))),
        "num_heads": int(setting(settings, "transformer_lm", "num_heads") or width // HEAD_WIDTH),
        "ff_multiple": inner // width,
        "dropout": 0.0,
        "reach": int(setting(settings, "transformer_lm", "subcodes_context") or 5),
        "span": span,
        "text": "t5",
        "t5": str(setting(settings, "conditioners", "description", "t5", "name") or "t5-base"),
        "t5_width": t5_width,
        "attend_padding": True,
        "mode": "masked",
        "temperature": sampling["temp"],
        "top_p": sampling["top_p"] or 1.0,  # 0 turns it off
        "guidance": sampling["max_cfg_coef"] - 1,  # a coefficient of theirs multiplies the conditional branch
        "least_guidance": sampling["min_cfg_coef"] - 1,
    }
    return validate(MAGNeTConfig, found, str(path))
