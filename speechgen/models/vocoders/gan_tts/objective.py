"""Training of GAN-TTS: hinge losses of ten random window discriminators (paper, section 3.4), and spectral distances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from speechgen.audio.spectrogram import log_mel
from speechgen.core.protocols import Batch, Sample, Update
from speechgen.losses.adversarial import discriminator_loss
from speechgen.losses.spectral import multi_resolution_stft_loss
from speechgen.models.vocoders.gan_tts.config import GanTtsConfig, GanTtsObjectiveConfig
from speechgen.models.vocoders.gan_tts.model import compress, expand, mel_features, shape
from speechgen.nn.linguistic import linguistic_features
from speechgen.nn.random_window import RandomWindow, RandomWindowDiscriminators, draw_starts
from speechgen.nn.spectral_norm import iterate


@dataclass(frozen=True)
class _Pair:
    """A crop, its conditioning, and what was generated from it, both companded if the network speaks so."""

    features: Tensor  # [B, T, F]
    real: Tensor  # [B, (T - 1) * hop]
    fake: Tensor


class GanTtsObjective:
    """Discriminator updates, then one of the generator; before `adversarial_start` the generator alone."""

    def __init__(self, network: nn.Module, config: GanTtsConfig, objective: GanTtsObjectiveConfig) -> None:
        self.config, self.weights = config, objective
        self.fields: tuple[str, ...] = ("audio",) if config.conditioning == "mel" else ("audio", "labels", "pitch")
        self.windows = [RandomWindow(w.frames, w.stride, w.conditional, w.unconditional) for w in objective.windows]
        judge = RandomWindowDiscriminators(self.windows, config.hop_samples, config.num_features, objective.width)
        self.parts: dict[str, nn.Module] = {"network": network, "discriminator": judge}

    def updates(self, batch: Batch, step: int, rng: torch.Generator) -> Iterator[Update]:
        """Generate from each crop's conditioning and a noise of its own, and let windows of both be judged."""
        z = torch.randn(len(batch["audio"]), self.config.noise_size, generator=rng, device=rng.device)
        pair = self._pair(batch, z.to(batch["audio"].device))
        adversarial = step >= self.weights.adversarial_start
        judge = self.parts["discriminator"]
        for _ in range(self.weights.discriminator_updates if adversarial else 0):
            real, fake = self._scores(pair, pair.fake.detach(), rng)
            loss = discriminator_loss(real, fake)
            told = {"real": torch.stack(real).mean().detach(), "fake": torch.stack(fake).mean().detach()}
            yield Update("discriminator", loss, told)
            iterate(judge)
        loss, told = self._distance(pair)
        if adversarial:
            fooled = -torch.stack(self._scores(pair, pair.fake, rng)[1]).mean()
            loss = loss + self.weights.adversarial_weight * fooled
            told["adversarial"] = fooled.detach()
        yield Update("network", loss, told)
        iterate(self.parts["network"])

    def _pair(self, batch: Batch, z: Tensor) -> _Pair:
        config, audio = self.config, batch["audio"]
        mel = log_mel(audio, config.mel)
        if config.conditioning == "mel":
            features = mel_features(mel)
        else:
            features = frame_features(batch["labels"], batch["pitch"], audio.shape[-1], config)
        half = config.hop_samples // 2
        fake = self.parts["network"](features, z)[:, half:-half]  # [B, (T - 1) * hop], frame j centred on sample j * hop
        if config.shaped:
            fake = shape(fake, mel, config.mel)
        real = audio[:, : fake.shape[-1]]
        return _Pair(features, compress(real) if config.mu_law else real, fake)

    def _scores(self, pair: _Pair, fake: Tensor, rng: torch.Generator) -> tuple[list[Tensor], list[Tensor]]:
        """What the discriminators say of the same windows of both: [B] each."""
        hop = self.config.hop_samples
        inner = slice(hop // 2, fake.shape[-1] - hop // 2)  # of the samples, those that whole frames cover
        features = pair.features[:, 1:-1]  # [B, T - 2, F]
        starts = draw_starts(self.windows, features.shape[1], hop, len(fake), rng).to(fake.device)
        # One pass: DistributedDataParallel allows one forward per backward.
        samples = torch.cat((pair.real[:, inner], fake[:, inner]))
        scores = self.parts["discriminator"](samples, features.repeat(2, 1, 1), starts.repeat(1, 2))
        real, fooled = zip(*(score.chunk(2) for score in scores), strict=True)
        return list(real), list(fooled)

    def _distance(self, pair: _Pair) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted spectral distances, and each as it is."""
        found, told = pair.fake.new_zeros(()), {}
        real, fake = (expand(each) if self.config.mu_law else each for each in (pair.real, pair.fake))
        if self.weights.stft_weight:
            stft = multi_resolution_stft_loss(fake, real)
            found, told["stft"] = found + self.weights.stft_weight * stft, stft.detach()
        if self.weights.mel_weight:
            mel = (log_mel(fake, self.config.mel) - log_mel(real, self.config.mel)).abs().mean()
            found, told["mel"] = found + self.weights.mel_weight * mel, mel.detach()
        return found, told

    def _copied(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Real and generated samples [B, L] for the mean noise."""
        z = batch["audio"].new_zeros(len(batch["audio"]), self.config.noise_size)
        pair = self._pair(batch, z)
        return (expand(pair.real), expand(pair.fake)) if self.config.mu_law else (pair.real, pair.fake)

    @torch.no_grad()
    def validate(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Log-mel and multi-resolution STFT distance of copy synthesis."""
        real, fake = self._copied(batch)
        mel = (log_mel(fake, self.config.mel) - log_mel(real, self.config.mel)).abs().mean()
        stft = multi_resolution_stft_loss(fake, real)
        return {"loss": mel + stft, "mel": mel, "stft": stft}

    @torch.no_grad()
    def sample(self, batch: Batch, rng: torch.Generator) -> Sample:
        """Copy synthesis of the first crop."""
        one = Batch({name: value[:1] for name, value in batch.fields.items()}, batch.lengths)
        _, fake = self._copied(one)
        return Sample(audio=fake[0], mel=log_mel(fake, self.config.mel)[0], rate=self.config.mel.sample_rate)


def frame_features(labels: Tensor, pitch: Tensor, num_samples: int, config: GanTtsConfig) -> Tensor:
    """Bring labels and pitch of a prepared corpus to the network's frames and describe them.

    Args:
        labels: [B, T'] phones, two mel frames each.
        pitch: [B, T] Hz on the frames of the mel, 0 = unvoiced.
        num_samples: L, length of the audio.
        config: of the network.

    Returns:
        [B, L // hop + 1, F] linguistic features.
    """
    mel_hop = config.mel.hop_samples
    centres = torch.arange(num_samples // config.hop_samples + 1, device=labels.device) * config.hop_samples  # samples
    label = ((centres + mel_hop // 2) // (2 * mel_hop)).clamp(max=labels.shape[1] - 1)  # a label lasts two mel frames
    frame = ((centres + mel_hop // 2) // mel_hop).clamp(max=pitch.shape[1] - 1)  # the nearest
    return linguistic_features(labels[:, label], pitch[:, frame], config.vocabulary_size, config.num_features)
