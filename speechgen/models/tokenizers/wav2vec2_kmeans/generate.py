"""The tokenizer as a SemanticTokenizer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from speechgen.audio.resample import resample
from speechgen.audio.spectrogram import mel_spectrogram
from speechgen.core.types import SemanticTokens, Waveform
from speechgen.models.tokenizers.wav2vec2_kmeans.config import TokenizerConfig
from speechgen.models.tokenizers.wav2vec2_kmeans.model import MelEncoder, PretrainedEncoder, spoken_phones

_PRETRAINED_RATE = 16000


class KMeansTokenizer:
    """Waveform of any rate to the nearest centroids."""

    def __init__(self, network: MelEncoder | PretrainedEncoder, config: TokenizerConfig) -> None:
        self.network, self.config, self.size = network, config, config.clusters
        self.rate = _PRETRAINED_RATE / network.stride if isinstance(network, PretrainedEncoder) else config.mel.frame_rate / 2

    @torch.inference_mode()
    def features(self, audio: Waveform, layer: int | None = None) -> tuple[Tensor, Tensor]:
        """Hidden states [B, T, D] that are clustered, and their lengths [B]."""
        if isinstance(self.network, PretrainedEncoder):
            audio = resample(audio, _PRETRAINED_RATE)
            hidden = self.network.features(audio.samples, audio.lengths, layer)
            return hidden, self.network.hidden_lengths(audio.lengths)
        mel = mel_spectrogram(audio, self.config.mel)
        return self.network.features(mel.values, mel.lengths, layer), (mel.lengths + 1) // 2

    @torch.inference_mode()
    def encode(self, audio: Waveform) -> SemanticTokens:
        """Tokenise; rows shorter than the batch are padded with whatever falls out, see `lengths`."""
        hidden, lengths = self.features(audio)
        return SemanticTokens(self.network.centroids(hidden), lengths, self.rate, self.size)

    def fit(self, audio: Waveform, phonemes: Tensor) -> float | None:
        """Return the CTC log probability of `phonemes [S]` in one row of audio, by phone; None for a pretrained encoder."""
        scores = self.phone_scores(audio)
        if scores is None:
            return None
        size = torch.tensor([len(phonemes)], device=phonemes.device)
        phones, count = spoken_phones(phonemes[None], size)
        frames = torch.tensor([len(scores)], device=scores.device)
        losses = F.ctc_loss(scores[:, None], phones.to(scores.device), frames, count, reduction="none")
        return -float(losses[0]) / max(1, int(count[0]))

    @torch.inference_mode()
    def phone_scores(self, audio: Waveform) -> Tensor | None:
        """Return the log probability of each symbol in each frame of one row of audio, [T', V]; None if it was pretrained."""
        if isinstance(self.network, PretrainedEncoder):
            return None
        mel = mel_spectrogram(audio, self.config.mel)
        logits, _ = self.network(mel.values, mel.lengths)
        scores: Tensor = logits[0].float().log_softmax(-1)
        return scores
