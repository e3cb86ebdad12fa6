r"""NSF network: source, condition and filter (Wang et al., 2020; Wang & Yamagishi, 2019), and a pitch predictor.

mel -> pitch (predicted, unless it is given) -> sines and noise -> filter blocks -> low-passed harmonics + high-passed noise
          \______________ condition, at every filter block and cut-off ______________/

At the end the envelope of the sound is corrected by the mel, if the configuration says so. Frame j is centred on sample
j * hop, so T frames make (T - 1) * hop samples. Randomness arrives as `Draws`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechgen.audio.source import harmonic_sines, pitch_of_samples, turns_of_samples
from speechgen.audio.spectrogram import corrected, corrected_frames
from speechgen.models.vocoders.nsf.config import NSFConfig
from speechgen.nn.convnext import ConvNeXtBlock
from speechgen.nn.fir import design_low_pass, filter_fixed, filter_moving, windowed_sincs
from speechgen.nn.neural_filter import NeuralFilterBlock

LOWEST_HZ, HIGHEST_HZ = 55.0, 660.0
"""The pitches that the predictor can tell."""
FEATURE_MEAN, FEATURE_STD = (-4.0, 90.0), (2.5, 90.0)
"""Of speech at the project's level: log-mel bins, and the pitch in Hz with unvoiced frames as 0."""

_BLUR_HZ = 300.0
"""Harmonics that lie closer than twice this do not show in the envelopes that correct a moved pitch."""
_LOUDEST = 3.0
"""Natural logarithm of the largest level."""


class Draws(NamedTuple):
    """The random numbers of a rendering."""

    offsets: Tensor  # [B, H] turns at which each harmonic begins, the fundamental at 0
    source: Tensor  # [B, L] standard normal, beside the sines
    noise: Tensor  # [B, L] standard normal, of the noise branch


class Rendering(NamedTuple):
    """What the network makes. A tuple, because Fabric maps over what a wrapped module returns."""

    samples: Tensor  # [B, L]
    pitch_scores: Tensor  # [B, T, bins]
    voicing: Tensor  # [B, T] logit of being voiced


class PitchPredictor(nn.Module):
    """Mel to scores of pitches on a logarithmic scale, and voicing. An addition to the papers."""

    def __init__(self, num_bins: int, width: int, num_layers: int, num_pitches: int) -> None:
        super().__init__()
        widths = [num_bins] + [width] * num_layers
        self.convolutions = nn.ModuleList(nn.Conv1d(a, b, 5, padding=2) for a, b in zip(widths, widths[1:], strict=False))
        self.scores = nn.Conv1d(width, num_pitches + 1, 1)

    @property
    def reach_frames(self) -> int:
        """Frames on either side that a prediction depends on."""
        return 2 * len(self.convolutions)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return pitch scores [B, T, bins] and voicing [B, T] of normalised mels [B, M, T]."""
        x = features
        for convolution in self.convolutions:
            x = F.leaky_relu(convolution(x), 0.1)
        out = self.scores(x).transpose(1, 2)  # [B, T, bins + 1]
        return out[..., :-1], out[..., -1]


def pitch_scale(scores: Tensor) -> Tensor:
    """Natural logarithms [bins] of the pitches in Hz that scores [..., bins] are of."""
    return torch.linspace(math.log(LOWEST_HZ), math.log(HIGHEST_HZ), scores.shape[-1], device=scores.device)


def decode_pitch(scores: Tensor, voicing: Tensor) -> Tensor:
    """Pitches [B, T] in Hz, 0 = unvoiced: the mean around the best score [B, T, bins], which is finer than the bins."""
    best = scores.argmax(-1, keepdim=True)
    places = torch.arange(scores.shape[-1], device=scores.device)
    share = scores.masked_fill((places - best).abs() > 4, -math.inf).softmax(-1)
    # Not a matrix product, which mixed precision would round to bfloat16.
    return (share * pitch_scale(scores)).sum(-1).exp() * (voicing > 0)


def pitch_loss(scores: Tensor, voicing: Tensor, pitch: Tensor) -> Tensor:
    """Cross entropy of scores [B, T, bins] to the measured pitch [B, T], blurred, where voiced, and of voicing [B, T]."""
    voiced, scale = pitch > 0, pitch_scale(scores)
    away = (pitch.clamp(LOWEST_HZ, HIGHEST_HZ).log()[..., None] - scale) / (scale[1] - scale[0])  # [B, T, bins]
    wanted = torch.softmax(-away.square() / 2, dim=-1)
    entropy = -(wanted * scores.log_softmax(-1)).sum(-1)  # [B, T]
    mean = (entropy * voiced).sum() / voiced.sum().clamp(min=1)
    return mean + F.binary_cross_entropy_with_logits(voicing, voiced.float())


class Control(NamedTuple):
    """What the condition tells the filters."""

    contexts: list[Tensor]  # [B, C, K] of each block
    cutoff: Tensor  # [B, K] as a share of half the rate
    levels: Tensor | None  # [B, 2, L] gains of the harmonics and of the noise


class Condition(nn.Module):
    """Mel and pitch to what the filters need: a context for every step, and a cut-off."""

    def __init__(self, config: NSFConfig, context_widths: Sequence[int]) -> None:
        super().__init__()
        self.config = config
        inputs, width = config.mel.num_bins + 1, config.condition_width
        self.widths = list(context_widths)
        if config.condition == "blstm":
            self.blstm = nn.LSTM(inputs, width // 2, bidirectional=True, batch_first=True)
        elif config.condition == "cnn":
            widths = [inputs] + [width] * (config.condition_layers - 1)
            self.convolutions = nn.ModuleList(nn.Conv1d(a, b, 3, padding=1) for a, b in zip(widths, widths[1:], strict=False))
        else:
            self.enter = nn.Conv1d(inputs, width, 7, padding=3)
            blocks = (ConvNeXtBlock(width, 3 * width, 1 / config.condition_layers) for _ in range(config.condition_layers))
            self.blocks = nn.Sequential(*blocks)
        before = inputs if config.condition == "cnn" and config.condition_layers == 1 else width
        self.leave = nn.Conv1d(before, config.width, 3, padding=1)
        if config.modulated:
            self.modulate = nn.Conv1d(config.width, sum(context_widths), 1)
            nn.init.normal_(self.modulate.weight, std=0.5 * config.width**-0.5)
            nn.init.zeros_(self.modulate.bias)  # type: ignore[arg-type]
            self.level = nn.Conv1d(before, 2, 1)

    @property
    def reach_frames(self) -> int | None:
        """Frames on either side that a context depends on; None: all."""
        layers = {"cnn": self.config.condition_layers, "convnext": 3 * self.config.condition_layers + 4}
        # The cut-off is averaged over four frames.
        return None if self.config.condition == "blstm" else layers[self.config.condition] + 4

    def forward(self, features: Tensor, voiced: Tensor) -> Control:
        """Return what controls the filters.

        Args:
            features: [B, M + 1, T] normalised mel and pitch.
            voiced: [B, K] 1 where voiced; each of the K is for as many samples.
        """
        hop = self.config.mel.hop_samples // self.config.stair
        hidden = self._hidden(features)  # [B, condition width, T]
        frames = torch.tanh(self.leave(hidden))  # [B, D, T]
        cutoff = self._spread(frames[:, -1:].float(), hop)[:, 0]  # [B, K], in (-1, 1)
        # Voiced from 0.5 to 0.9, unvoiced from 0.1 to 0.5.
        share = self.config.cutoff_share * _average(0.2 * cutoff + 0.4 * voiced + 0.3, 4 * hop)
        if self.config.variant == "hn_sinc":
            frames = torch.cat((frames[:, :-1], features[:, -1:].to(frames.dtype)), dim=1)
        if not self.config.modulated:
            context = self._spread(frames, hop)
            return Control([context] * len(self.widths), share, None)
        levels = self._spread(self.level(hidden).float().clamp(max=_LOUDEST), self.config.mel.hop_samples).exp()
        contexts = torch.split(self._spread(self.modulate(frames), hop), self.widths, dim=1)
        return Control(list(contexts), share, levels)

    def _hidden(self, features: Tensor) -> Tensor:
        if self.config.condition == "blstm":
            hidden: Tensor = self.blstm(features.transpose(1, 2))[0].transpose(1, 2)
            return hidden
        if self.config.condition == "cnn":
            for convolution in self.convolutions:
                features = torch.tanh(convolution(features))
            return features
        out: Tensor = self.blocks(self.enter(features))
        return out

    def _spread(self, frames: Tensor, hop: int) -> Tensor:
        """Frames [B, C, T] as steps [B, C, (T - 1) * hop]."""
        if self.config.glide:
            share = (torch.arange(hop, device=frames.device) / hop).to(frames.dtype)
            return torch.lerp(frames[..., :-1, None], frames[..., 1:, None], share).flatten(2)
        held = frames.repeat_interleave(hop, -1)[..., hop // 2 : -(hop - hop // 2)]
        return _average(_average(held, hop), hop)


class NSF(nn.Module):
    """The whole generator."""

    feature_mean: Tensor
    feature_std: Tensor
    low_voiced: Tensor
    high_voiced: Tensor
    low_unvoiced: Tensor
    high_unvoiced: Tensor

    def __init__(self, config: NSFConfig) -> None:
        super().__init__()
        if config.mel.hop_samples % config.stair or config.stair % config.fold:
            hop = config.mel.hop_samples
            raise ValueError(f"fold must divide stair, and stair the hop of {hop}: got {config.fold} and {config.stair}")
        self.config = config
        self.pitch = PitchPredictor(config.mel.num_bins, config.pitch_width, config.pitch_layers, config.pitch_bins)
        layers = [config.block_layers] * config.blocks + [config.noise_layers]
        *blocks, noise = (NeuralFilterBlock(config.fold, config.width, number, config.modulated) for number in layers)
        self.blocks, self.noise_block = nn.ModuleList(blocks), noise
        self.condition = Condition(config, [block.context_width for block in (*blocks, noise)])
        self.past_samples = sum(block.reach_samples for block in blocks) + config.sinc_order
        self.source = nn.Linear(config.harmonics, 1)
        bins = config.mel.num_bins
        self.register_buffer("feature_mean", torch.tensor([FEATURE_MEAN[0]] * bins + [FEATURE_MEAN[1]]))
        self.register_buffer("feature_std", torch.tensor([FEATURE_STD[0]] * bins + [FEATURE_STD[1]]))
        if config.variant == "hn":
            for name, taps in _fixed_filters(config.mel.sample_rate).items():
                self.register_buffer(name, taps)

    @property
    def reach_frames(self) -> int | None:
        """Frames before a sample that it depends on, and an upper bound for those behind it; None: all."""
        condition = self.condition.reach_frames
        if condition is None:
            return None
        behind = math.ceil(self.past_samples / self.config.mel.hop_samples) + 1
        return self.pitch.reach_frames + condition + behind + corrected_frames(self.config.mel, self.config.corrections)

    def predict_pitch(self, mel: Tensor) -> Tensor:
        """Pitches [B, T] in Hz, 0 = unvoiced, of mels [B, T, M]."""
        return decode_pitch(*self.pitch(self._normal_mel(mel)))

    def forward(self, mel: Tensor, pitch: Tensor | None, draws: Draws, own: Tensor | None = None) -> Rendering:
        """Render a waveform.

        Args:
            mel: [B, T, M] natural-log mel, T >= 2.
            pitch: [B, T] Hz, 0 = unvoiced; none: the predicted one.
            draws: random numbers for (T - 1) * hop samples.
            own: [B] True: the predicted pitch takes the place of the given one.
        """
        features = self._normal_mel(mel)
        scores, voicing = self.pitch(features)
        if pitch is None or own is not None:
            predicted = decode_pitch(scores, voicing).detach()
            pitch = predicted if pitch is None or own is None else torch.where(own[:, None], predicted, pitch)
        return Rendering(self.render(mel, pitch, draws), scores, voicing)

    def render(
        self,
        mel: Tensor,
        pitch: Tensor,
        draws: Draws,
        start: Tensor | None = None,
        breath: float = 1.0,
        *,
        own_pitch: bool = True,
    ) -> Tensor:
        """Samples [B, (T - 1) * hop] of mels [B, T, M] at pitches [B, T].

        Args:
            mel: natural-log mel.
            pitch: Hz, 0 = unvoiced.
            draws: random numbers.
            start: [B] turns, phase of the fundamental before the first sample; none: 0.
            breath: gain of the noise.
            own_pitch: whether the pitches are those of the mel, whose harmonics then correct the sound's.
        """
        config = self.config
        hertz = pitch_of_samples(pitch, config.mel.hop_samples, glide=config.glide)  # [B, L]
        voiced = (hertz > 0).float()
        normal = ((pitch - self.feature_mean[-1]) / self.feature_std[-1])[:, None]
        control = self.condition(torch.cat((self._normal_mel(mel), normal), dim=1), voiced[:, :: config.stair])
        harmonic = self._excite(hertz, draws, start)
        for block, context in zip(self.blocks, control.contexts, strict=False):
            harmonic = block(harmonic, context)
        noise = self.noise_block(draws.noise * config.sine_level / 3, control.contexts[-1])
        if control.levels is not None:
            harmonic, noise = harmonic * control.levels[:, 0], noise * control.levels[:, 1]
        made = self._join(harmonic, breath * noise, voiced, control.cutoff)
        return corrected(made, mel, config.mel, config.corrections, 0.0 if own_pitch else _BLUR_HZ)

    def _normal_mel(self, mel: Tensor) -> Tensor:
        return ((mel - self.feature_mean[:-1]) / self.feature_std[:-1]).transpose(1, 2)  # [B, M, T]

    def _excite(self, hertz: Tensor, draws: Draws, start: Tensor | None) -> Tensor:
        """Merge the sines, each with noise of its own, into one excitation [B, L]."""
        config = self.config
        with torch.no_grad():
            turns = turns_of_samples(hertz, config.mel.sample_rate, start)[:, 1:]
            sines = config.sine_level * harmonic_sines(turns, hertz, config.mel.sample_rate, draws.offsets)  # [B, H, L]
            level = torch.where(hertz > 0, config.noise_level, config.sine_level / 3)
        weight = self.source.weight[0]  # [H]
        # A weighted sum of independent noises is one noise, of the weights' norm.
        with torch.autocast(sines.device.type, enabled=False):
            mixed = weight @ sines
        merged = mixed + torch.linalg.vector_norm(weight) * level * draws.source + self.source.bias
        return torch.tanh(merged)

    def _join(self, harmonic: Tensor, noise: Tensor, voiced: Tensor, cutoff: Tensor) -> Tensor:
        # Differs from the published code, whose filters are causal: here none delays its branch.
        if self.config.variant == "hn_sinc":
            low, high = windowed_sincs(cutoff, self.config.sinc_order)
            return filter_moving(harmonic, low) + filter_moving(noise, high)
        share = torch.sigmoid(10 * (voiced - 0.5))
        when_voiced = filter_fixed(harmonic, self.low_voiced) + filter_fixed(noise, self.high_voiced)
        when_unvoiced = filter_fixed(harmonic, self.low_unvoiced) + filter_fixed(noise, self.high_unvoiced)
        return share * when_voiced + (1 - share) * when_unvoiced


def _fixed_filters(sample_rate: int) -> dict[str, Tensor]:
    """Voiced: harmonics up to 5 kHz, noise from 7 kHz on; unvoiced: harmonics up to 1 kHz, noise from 3 kHz on."""
    # Differs from paper: least squares in place of equal ripples, and as many more taps as the rate is higher.
    short, long = (2 * round(taps * sample_rate / 16000 / 2) + 1 for taps in (8, 10))
    half = sample_rate / 2
    return {
        "low_voiced": design_low_pass(5000, 7000, sample_rate, short),
        "high_voiced": design_low_pass(half - 7000, half - 5000, sample_rate, long, mirrored=True),
        "low_unvoiced": design_low_pass(1000, 3000, sample_rate, long),
        "high_unvoiced": design_low_pass(half - 3000, half - 1000, sample_rate, short, mirrored=True),
    }


def _average(values: Tensor, size: int) -> Tensor:
    """Moving average of `size` steps over the last dimension, centred; the ends are repeated."""
    shape = values.shape
    flat = values.reshape(-1, 1, shape[-1])
    padded = F.pad(flat, ((size - 1) // 2, size - 1 - (size - 1) // 2), mode="replicate")
    return F.avg_pool1d(padded, size, 1).reshape(shape)
