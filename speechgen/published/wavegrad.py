"""WaveGrad in its two public implementations, `lmnt-com/wavegrad` (Apache-2.0) and `ivanvovk/WaveGrad` (BSD-3-Clause).

Both differ from the paper and from each other; the weights are of use only with the same choices:

                        lmnt-com                        ivanvovk
    noise level         encoded as it is                times 5000, as in the paper
    FiLM                shift before scale              two convolutions, scale and shift
    interpolation       nearest, up and down            linear, up and down
    dilations           small in the first two UBlocks, large in the other three (the paper: the other way round)
    mel                 decibels of magnitudes          log10 of powers
                        50 ms windows, 20 Hz to half    1024 samples, 80 Hz to 8 kHz
                        the sample rate
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from speechgen.core.config import read_yaml, validate
from speechgen.core.errors import UserError
from speechgen.core.types import MelSettings
from speechgen.core.weights import find_file, read_weights, tensors
from speechgen.models.vocoders.wavegrad.config import WaveGradConfig
from speechgen.published import About, Imported, foreign

__all__ = ["ABOUT", "convert", "infer_config", "read"]

ABOUT = About(
    model="wavegrad",
    origin="github.com/lmnt-com/wavegrad or github.com/ivanvovk/WaveGrad",
    licence="Apache-2.0 (lmnt-com) or BSD-3-Clause (ivanvovk)",
    files=("weights.pt", "*.pt", "*.safetensors", "*.json"),
)

_DILATIONS = ((1, 2, 1, 2), (1, 2, 1, 2), (1, 2, 4, 8), (1, 2, 4, 8), (1, 2, 4, 8))
_FACTORS = (5, 5, 3, 2, 2)
_LMNT_RATE, _IVANVOVK_RATE = 24000, 22050
_LMNT_NAMES = (
    (r"first_conv\.", "mel_input."),
    (r"last_conv\.", "output."),
    (r"downsample\.0\.(weight|bias)", r"audio_input.\1"),
    (r"downsample\.(\d+)\.residual_dense\.", r"downsample.<\1-1>.residual."),
    (r"downsample\.(\d+)\.conv\.", r"downsample.<\1-1>.convolutions."),
    (r"film\.(\d+)\.(input|output)_conv\.", r"film.\1.\2."),
    (r"upsample\.(\d+)\.block1\.", r"upsample.\1.residual."),
    (r"upsample\.(\d+)\.block2\.", r"upsample.\1.convolutions."),
    (r"upsample\.(\d+)\.block3\.(\d)", r"upsample.\1.convolutions.<\2+2>"),
)
_IVANVOVK_NAMES = (
    (r"ublock_preconv\.conv1d\.", "mel_input."),
    (r"ublock_postconv\.conv1d\.", "output."),
    (r"dblock_preconv\.conv1d\.", "audio_input."),
    (r"dblocks\.(\d+)\.residual_branch\.0\.conv1d\.", r"downsample.\1.residual."),
    (r"dblocks\.(\d+)\.main_branch\.(\d+)\.convolution\.conv1d\.", r"downsample.\1.convolutions.<\2-1>."),
    (r"films\.(\d+)\.signal_conv\.0\.conv1d\.", r"film.\1.input."),
    (r"films\.(\d+)\.(scale|shift)_conv\.conv1d\.", r"film.\1.\2."),
    (r"ublocks\.(\d+)\.first_block_residual_branch\.0\.conv1d\.", r"upsample.\1.residual."),
    (r"ublocks\.(\d+)\.first_block_main_branch\.upsampling\.2\.conv1d\.", r"upsample.\1.convolutions.0."),
    (r"ublocks\.(\d+)\.first_block_main_branch\.modulation\.convolution\.conv1d\.", r"upsample.\1.convolutions.1."),
    (r"ublocks\.(\d+)\.second_block_main_branch\.modulation_(\d)\.convolution\.conv1d\.", r"upsample.\1.convolutions.<\2+2>."),
)


def read(source: Path) -> Imported:
    """Read a published file, or the folder it lies in; `default.json` of ivanvovk beside it tells sizes that are not the usual.

    Raises:
        UserError: it cannot be read, or is no WaveGrad.
    """
    path = find_file(source, ABOUT.files[:-1])
    content = read_weights(path)
    published = tensors(content.get("model", content), path)
    settings = content.get("params") if isinstance(content.get("params"), Mapping) else {}
    beside = sorted(path.parent.glob("*.json"))
    if len(beside) == 1 and not settings:
        settings = read_yaml(beside[0])  # JSON is YAML
    with foreign(path, "WaveGrad"):
        config = infer_config(published, settings)
        rate = f"the sample rate is taken to be {config.mel.sample_rate} Hz"
        return Imported(config, convert(published), (rate,) if not settings else ())


def convert(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the parameters of a published state dict under our names; what belongs to its noise schedule is left out.

    Raises:
        UserError: it is neither implementation's.
    """
    lmnt = _is_lmnt(published)
    renamed = {}
    for key, value in _parameters(published).items():
        name = _renamed(key, _LMNT_NAMES if lmnt else _IVANVOVK_NAMES)
        if name is None:
            raise UserError(f"this is no published WaveGrad: it has {key!r}, which neither implementation has")
        renamed[name] = value
    if lmnt:
        for key in [name for name in renamed if ".output." in name]:  # film.N.output
            shift, scale = renamed[key].chunk(2)
            renamed[key] = torch.cat((scale, shift))
    else:
        for key in [name for name in renamed if ".scale." in name]:
            scale, shift = renamed.pop(key), renamed.pop(key.replace(".scale.", ".shift."))
            renamed[key.replace(".scale.", ".output.")] = torch.cat((scale, shift))
    return renamed


def infer_config(published: Mapping[str, Tensor], settings: Mapping[str, Any] | None = None) -> WaveGradConfig:
    """Read the sizes off the shapes of a published state dict, and what shapes do not tell off the published settings.

    Args:
        published: the state dict.
        settings: `params` of a file of lmnt-com, or the JSON of ivanvovk; what they lack is as in the repositories.

    Raises:
        UserError: it is neither implementation's.
    """
    lmnt, state = _is_lmnt(published), convert(published)
    try:
        mel_channels, num_bins, _ = state["mel_input.weight"].shape
        blocks = len({key.split(".")[1] for key in state if key.startswith("upsample.")})
        up = tuple(state[f"upsample.{i}.residual.weight"].shape[0] for i in range(blocks))
        down = tuple(state[f"downsample.{i}.residual.weight"].shape[0] for i in range(blocks - 1))
        audio_channels = state["audio_input.weight"].shape[0]
    except (KeyError, ValueError) as error:
        raise UserError(f"this is no complete WaveGrad ({error!r}): give the whole state dict") from error
    front = _lmnt_front_end(settings or {}, num_bins) if lmnt else _ivanvovk_front_end(settings or {}, num_bins)
    sizes = {"mel_channels": mel_channels, "up_channels": up, "audio_channels": audio_channels, "down_channels": down}
    interpolation = "nearest" if lmnt else "linear"
    choices = {"upsampling": interpolation, "downsampling": interpolation, "level_scale": 1.0 if lmnt else 5000.0}
    told = "sizes of the published WaveGrad, whose factors are in the JSON of its repository"
    return validate(WaveGradConfig, {**sizes, **choices, **front}, told)


def _lmnt_front_end(settings: Mapping[str, Any], num_bins: int) -> dict[str, Any]:
    """`preprocess.py`: 20 log10 of magnitudes whose window has norm 1, between -80 and 20 dB as 0 and 1."""
    rate, hop = int(settings.get("sample_rate", _LMNT_RATE)), int(settings.get("hop_samples", 300))
    window = 4 * hop
    norm = float(torch.hann_window(window, dtype=torch.float64).square().sum().sqrt())
    mel = MelSettings(
        sample_rate=rate,
        n_fft=2 ** (window - 1).bit_length(),
        hop_samples=hop,
        num_bins=num_bins,
        floor=1e-4 * norm,
        window_samples=window,
        low_hz=20.0,
    )
    mel_range = (math.log(1e-4 * norm), math.log(10 * norm))
    return {"mel": mel, "mel_range": mel_range, "mel_clamped": True, "up_dilations": _DILATIONS}


def _ivanvovk_front_end(settings: Mapping[str, Any], num_bins: int) -> dict[str, Any]:
    """`data.py`: log10 of powers, which the network sees as they are."""
    data, model = settings.get("data_config", {}), settings.get("model_config", {})
    mel = MelSettings(
        sample_rate=int(data.get("sample_rate", _IVANVOVK_RATE)),
        n_fft=int(data.get("n_fft", 1024)),
        hop_samples=int(data.get("hop_length", 300)),
        num_bins=num_bins,
        floor=1e-10,
        window_samples=int(data.get("win_length", 1024)),
        low_hz=float(data.get("f_min", 80.0)),
        high_hz=float(data.get("f_max", 8000.0)),
        power=2,
    )
    return {
        "mel": mel,
        "mel_range": (0.0, math.log(10)),
        "up_factors": tuple(model.get("factors", _FACTORS)),
        "up_dilations": tuple(map(tuple, model.get("upsampling_dilations", _DILATIONS))),
        "down_dilations": tuple(model.get("downsampling_dilations", ((1, 2, 4),))[0]),
    }


def _is_lmnt(published: Mapping[str, Tensor]) -> bool:
    """Whether it is lmnt-com's and not ivanvovk's.

    Raises:
        UserError: it is neither.
    """
    keys = _parameters(published)
    if "first_conv.weight" in keys or "ublock_preconv.conv1d.weight" in keys:
        return "first_conv.weight" in keys
    raise UserError("this is no published WaveGrad: give a checkpoint of lmnt-com/wavegrad or ivanvovk/WaveGrad")


def _parameters(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's parameters, without what wrappers put before their names."""
    names = {key: key.removeprefix("module.").removeprefix("nn.") for key in published}
    return {name: published[key] for key, name in names.items() if "." in name}


def _renamed(key: str, names: tuple[tuple[str, str], ...]) -> str | None:
    """The key under our names; `<2-1>` in a replacement is worked out."""
    for pattern, replacement in names:
        if re.match(pattern, key):
            name = re.sub(f"^{pattern}", replacement, key)
            return re.sub(r"<(\d+)([+-]\d+)>", lambda found: str(int(found[1]) + int(found[2])), name)
    return None
