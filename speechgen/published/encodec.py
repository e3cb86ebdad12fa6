"""EnCodec as it is published: files of the `encodec` package and of audiocraft, and folders in the layout of `transformers`.

Layers lie in the same order as ours, so that only what is around a number differs. Weight normalisation is folded into the
weights; running sums of the codebooks are left out, as they can be had from the codebooks and their counts.

The package has 24 and 48 kHz. audiocraft's `compression_state_dict.bin` is the 16 kHz codec of audio-magnet and AudioGen: the
package's names under `best_state`, and settings as YAML text under `xp.cfg`; beside other models it names a codec alone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from speechgen.core.config import validate
from speechgen.core.errors import UserError
from speechgen.core.weights import find_file, read_weights, tensors
from speechgen.models.codecs.encodec.config import EncodecConfig
from speechgen.published import About, Imported, audiocraft_settings, foreign, setting

__all__ = ["ABOUT", "convert", "infer_config", "read"]

ABOUT = About(
    model="encodec",
    origin="github.com/facebookresearch/encodec, or huggingface.co/facebook/encodec_24khz, encodec_48khz, encodec_32khz or "
    "audio-magnet-small (its codec)",
    licence="CC-BY-NC-4.0: not for commercial use",
    files=("compression_state_dict.bin", "model.safetensors", "pytorch_model.bin", "encodec_*.th", "config.json"),
    pulls={
        "encodec-24khz": "facebook/encodec_24khz",
        "encodec-48khz": "facebook/encodec_48khz",
        "encodec-32khz": "facebook/encodec_32khz",
        "encodec-16khz": "facebook/audio-magnet-small",
    },
)
_NAMES = (
    # the package: a wrapper around the layers, and one more around each convolution
    (r"(encoder|decoder)\.model\.", r"\1.layers."),
    (r"\.(?:conv|convtr)\.(?:conv|convtr)\.", ".conv."),
    (r"\.(?:conv|convtr)\.norm\.", ".norm."),
    (r"^quantizer\.vq\.layers\.(\d+)\._codebook\.", r"quantizer.layers.\1.codebook."),
    # both kinds of weight normalisation
    (r"\.parametrizations\.weight\.original0$", ".weight_g"),
    (r"\.parametrizations\.weight\.original1$", ".weight_v"),
)
_SETTINGS = {
    "sampling_rate": "sample_rate",
    "audio_channels": "channels",
    "num_filters": "width",
    "upsampling_ratios": "ratios",
    "hidden_size": "latent_width",
    "num_residual_layers": "residual_layers",
    "dilation_growth_rate": "dilation_growth",
    "compress": "compress",
    "kernel_size": "kernel",
    "residual_kernel_size": "residual_kernel",
    "use_conv_shortcut": "conv_shortcut",
    "num_lstm_layers": "lstm_layers",
    "use_causal_conv": "causal",
    "pad_mode": "pad_mode",
    "normalize": "normalize",
    "chunk_length_s": "segment_seconds",
    "overlap": "segment_overlap",
}
"""`config.json` of transformers -> ours."""
_AUDIOCRAFT = {
    "sampling_rate": ("encodec", "sample_rate"),
    "audio_channels": ("encodec", "channels"),
    "normalize": ("encodec", "renormalize"),
    "use_causal_conv": ("seanet", "causal"),
    "num_filters": ("seanet", "n_filters"),
    "upsampling_ratios": ("seanet", "ratios"),
    "hidden_size": ("seanet", "dimension"),
    "num_residual_layers": ("seanet", "n_residual_layers"),
    "dilation_growth_rate": ("seanet", "dilation_base"),
    "compress": ("seanet", "compress"),
    "kernel_size": ("seanet", "kernel_size"),
    "last_kernel_size": ("seanet", "last_kernel_size"),
    "residual_kernel_size": ("seanet", "residual_kernel_size"),
    "num_lstm_layers": ("seanet", "lstm"),
    "pad_mode": ("seanet", "pad_mode"),
    "norm_type": ("seanet", "norm"),
    "trim_right_ratio": ("seanet", "decoder", "trim_right_ratio"),
}
"""`config.json` of transformers -> `xp.cfg` of audiocraft."""
_ALIKE = {
    ("compression_model",): "encodec",
    ("encodec", "autoencoder"): "seanet",
    ("encodec", "quantizer"): "rvq",
    ("seanet", "activation"): "ELU",
    ("seanet", "decoder", "final_activation"): None,
}
"""What audiocraft can build in another way, and ours cannot."""


def read(source: Path) -> Imported:
    """Read a file of the package or of audiocraft, or a folder with weights and a `config.json` beside them.

    Raises:
        UserError: it cannot be read, or is no EnCodec.
    """
    path = find_file(source, [name for name in ABOUT.files if name != "config.json"])
    content = read_weights(path)
    if isinstance(named := content.get("pretrained"), str):
        known = next((f"speechgen models pull {name}" for name, place in ABOUT.pulls.items() if place == named), None)
        raise UserError(f"{path} holds no codec, but says that it is {named}: {known or 'import that'}")
    beside = path.parent / "config.json"
    with foreign(path, "EnCodec"):
        if "xp.cfg" in content:
            published, settings = tensors(content.get("best_state"), path), _of_audiocraft(content["xp.cfg"], path)
        else:
            published = tensors(content, path)
            settings = _settings(beside) if path.suffix != ".th" and beside.is_file() else None
        config = infer_config(published, settings)
        return Imported(config, convert(published), notes=(f"licence of the weights: {ABOUT.licence}",))


def convert(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a published state dict under our names, weight normalisation folded in.

    Raises:
        UserError: it is no EnCodec.
    """
    named = _renamed(published)
    state = {key: value for key, value in named.items() if not key.startswith("quantizer.") and not key.endswith(("_g", "_v"))}
    for key, direction in named.items():
        if key.endswith(".weight_v"):
            gain = named[key.removesuffix("_v") + "_g"]
            if not direction.numel() or gain.shape != (len(direction), *[1] * (direction.dim() - 1)):  # it would crash
                raise UserError(f"this is no published EnCodec ({key} is {list(direction.shape)}): give one of its files")
            state[key.removesuffix("_v")] = torch._weight_norm(direction, gain, 0)
    depth = _depth(named)
    try:
        for kind, name in (("embed", "vectors"), ("cluster_size", "counts")):
            state[f"quantizer.{name}"] = torch.stack([named[f"quantizer.layers.{i}.codebook.{kind}"] for i in range(depth)])
    except KeyError as error:
        raise UserError(f"this is no published EnCodec (it lacks {error}): give one of its files") from error
    state["quantizer.updates"] = torch.ones((), dtype=torch.int64)
    return state


def infer_config(published: Mapping[str, Tensor], settings: Mapping[str, Any] | None = None) -> EncodecConfig:
    """Say which model a state dict is: from the settings beside it, or as one of the package's two, which shapes tell apart.

    Args:
        published: the state dict.
        settings: as `config.json` of transformers has them.

    Raises:
        UserError: it is neither.
    """
    named = _renamed(published)
    try:
        size = named["quantizer.layers.0.codebook.embed"].shape[0]
        channels = _first_weight(named).shape[1]
    except KeyError as error:
        raise UserError(f"this is no published EnCodec (it lacks {error}): give one of its files") from error
    books = {"num_codebooks": _depth(named), "codebook_size": size}
    if settings is not None:
        known = {ours: settings[theirs] for theirs, ours in _SETTINGS.items() if settings.get(theirs) is not None}
        known["group_norm"] = settings.get("norm_type") == "time_group_norm"
        return validate(EncodecConfig, {**known, **books}, "config.json of the published EnCodec")
    base = EncodecConfig.published_48khz() if channels == 2 else EncodecConfig()
    sizes = _sizes(named)
    return validate(EncodecConfig, {**base.model_dump(), **sizes, **books}, "sizes of the published EnCodec")


def _renamed(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Both layouts under the names of transformers."""
    named: dict[str, Tensor] = {}
    for key, value in published.items():
        for pattern, replacement in _NAMES:
            key = re.sub(pattern, replacement, key)
        named[key] = value
    return named


def _depth(named: Mapping[str, Tensor]) -> int:
    """Codebooks."""
    return len({match[1] for key in named if (match := re.match(r"quantizer\.layers\.(\d+)\.", key))})


def _first_weight(named: Mapping[str, Tensor]) -> Tensor:
    key = "encoder.layers.0.conv.weight"
    return named[f"{key}_v"] if f"{key}_v" in named else named[key]


def _sizes(named: Mapping[str, Tensor]) -> dict[str, Any]:
    """Width, ratios and the like off the shapes of the decoder; the rest is as in the package."""
    directions = {key: value for key, value in named.items() if re.fullmatch(r"decoder\.layers\.\d+\.conv\.weight(_v)?", key)}
    by_place = [directions[key] for key in sorted(directions, key=lambda name: int(name.split(".")[2]))]
    # A transposed convolution to half as many channels has windows of two strides.
    ratios = tuple(w.shape[2] // 2 for w in by_place[1:-1] if w.shape[0] == 2 * w.shape[1])
    lstm = {match[1] for key in named if (match := re.match(r"encoder\.layers\.\d+\.lstm\.weight_ih_l(\d+)", key))}
    return {
        "width": by_place[-1].shape[1],
        "ratios": ratios,
        "latent_width": by_place[0].shape[1],
        "lstm_layers": len(lstm),
        "kernel": by_place[0].shape[2],
    }


def _settings(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}): copy it again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is no mapping: copy it again")
    return _checked(content, path)


def _of_audiocraft(text: Any, path: Path) -> dict[str, Any]:
    """The settings of audiocraft by the names of transformers.

    Raises:
        UserError: one is missing, or asks for another codec.
    """
    told = audiocraft_settings(text, path)
    for keys, wanted in _ALIKE.items():
        if (found := setting(told, *keys)) != wanted:
            raise UserError(f"{path} is another codec than EnCodec: its {'.'.join(keys)} is {found}, not {wanted}")
    settings = {name: setting(told, *keys) for name, keys in _AUDIOCRAFT.items()}
    settings["use_conv_shortcut"] = None if (skips := setting(told, "seanet", "true_skip")) is None else not skips
    if missing := [name for name, value in settings.items() if value is None]:
        raise UserError(f"the settings in {path} do not tell {', '.join(missing)}: give the file as audiocraft publishes it")
    return _checked(settings, path)


def _checked(settings: dict[str, Any], path: Path) -> dict[str, Any]:
    if settings.get("trim_right_ratio", 1.0) != 1.0 or not _equal_kernels(settings):
        raise UserError(f"{path} describes an EnCodec that was never published: its first and last layers must be alike")
    return settings


def _equal_kernels(settings: Mapping[str, Any]) -> bool:
    return bool(math.isclose(settings.get("kernel_size", 7), settings.get("last_kernel_size", 7)))
