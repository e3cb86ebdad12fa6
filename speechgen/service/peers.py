"""Other systems to measure beside ours: networks of `transformers` at their published sizes, with random weights.

Weights do not change the work, so nothing needs to be downloaded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from speechgen.core.types import MelSettings
from speechgen.evaluation.optional import require
from speechgen.service.machine import now

__all__ = ["Decoder", "VitsTimes", "encodec", "hifigan", "load_transformers", "time_vits"]


def load_transformers() -> Any:
    """Import the package.

    Raises:
        UserError: it is missing.
    """
    return require("transformers", install='"speechgen[train]"')


@dataclass(frozen=True)
class Decoder:
    """A network that makes sound: `render(seconds)` does so and returns how much it made; `how` says what it is."""

    name: str
    how: str
    network: nn.Module
    render: Callable[[float], float]


def hifigan(transformers: Any, device: torch.device, settings: MelSettings) -> Decoder:
    """Return HiFi-GAN V1 (Kong et al., 2020) for mels of these settings, which need a hop of 256."""
    assert settings.hop_samples == 256
    with _random_weights():
        config = transformers.SpeechT5HifiGanConfig(
            model_in_dim=settings.num_bins,
            sampling_rate=settings.sample_rate,
            upsample_rates=[8, 8, 2, 2],
            upsample_kernel_sizes=[16, 16, 4, 4],
        )
        network = transformers.SpeechT5HifiGan(config).eval().to(device)

    @torch.inference_mode()
    def render(seconds: float) -> float:
        mel = torch.zeros(max(1, round(seconds * settings.frame_rate)), settings.num_bins, device=device)
        return float(network(mel).shape[-1] / settings.sample_rate)

    how = f"SpeechT5HifiGan of transformers {transformers.__version__}, V1: 8 x 8 x 2 x 2 from 512 channels, random weights"
    return Decoder("hifigan", how, network, render)


def encodec(transformers: Any, device: torch.device) -> Decoder:
    """Return the decoder of EnCodec at 24 kHz (Défossez et al., 2022), from its latents on."""
    with _random_weights():
        config = transformers.EncodecConfig()
        network = transformers.EncodecModel(config).decoder.eval().to(device)
    for layer in network.modules():
        if is_parametrized(layer, "weight"):
            remove_parametrizations(layer, "weight")  # weight norm, which only training needs
    rate = config.sampling_rate / math.prod(config.upsampling_ratios)

    @torch.inference_mode()
    def render(seconds: float) -> float:
        latents = torch.zeros(1, config.hidden_size, max(1, round(seconds * rate)), device=device)
        return float(network(latents).shape[-1] / config.sampling_rate)

    how = f"decoder of EncodecModel(EncodecConfig()) of transformers {transformers.__version__}, 24 kHz, random weights"
    return Decoder("encodec", how, network, render)


@contextmanager
def _random_weights() -> Iterator[None]:
    """Draw the same weights every time, and leave torch's own generator as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@dataclass(frozen=True)
class VitsTimes:
    """Seconds of work and of sound for each text, the network, and under which conditions."""

    work: list[float]
    audio: list[float]
    network: nn.Module
    how: str


def time_vits(
    transformers: Any, device: torch.device, spoken: Sequence[tuple[str, float]], step: Callable[[], None]
) -> VitsTimes:
    """Time the published default size of VITS on the same texts, its output as long as ours.

    Args:
        transformers: the package.
        device: where to run.
        spoken: texts and the seconds of sound to make of each; the first one warms up, too.
        step: called after each.
    """
    work, audio = [], []
    with _random_weights(), torch.inference_mode():
        config = transformers.VitsConfig()
        model = transformers.VitsModel(config).eval().to(device)
        frame = math.prod(config.upsample_rates) / config.sampling_rate  # seconds
        for text, seconds in (spoken[0], *spoken):
            # A symbol for every character, and a blank before, between and behind them, as its own tokenizer does it.
            ids = torch.zeros(1, 2 * len(text) + 1, dtype=torch.long)
            ids[0, 1::2] = torch.tensor([1 + ord(char) % (config.vocab_size - 1) for char in text])
            # The duration predictor works as ever, but what it found is replaced.
            hook = model.duration_predictor.register_forward_hook(_lasting(round(seconds / frame), ids.shape[1], device))
            started = now(device)
            waveform = model(ids.to(device)).waveform
            work.append(now(device) - started)
            audio.append(waveform.shape[-1] / config.sampling_rate)
            hook.remove()
            if len(work) > 1:
                step()
    how = (
        f"VitsModel(VitsConfig()) of transformers {transformers.__version__}, random weights, "
        f"{config.sampling_rate / 1000:g} kHz, the same characters with blanks between; "
        "its predicted durations are computed and then replaced by even ones, "
        "so that its sound is as long as the pipeline's"
    )
    return VitsTimes(work[1:], audio[1:], model, how)


def _lasting(frames: int, symbols: int, device: torch.device) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    """Return a forward hook that gives log durations of `symbols` symbols which take `frames` frames in all, evenly."""
    edges = torch.arange(symbols + 1, device=device) * frames // symbols
    durations = edges.diff().float()[None, None]  # [1, 1, S]
    logarithms = (durations - 0.5).clamp(min=0).log()  # the model rounds up
    return lambda module, arguments, output: logarithms
