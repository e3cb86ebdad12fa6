"""The mel codec as a Codec: audio to codes and back."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from speechgen.audio.resample import resample
from speechgen.audio.spectrogram import corrected, corrected_frames, log_mel
from speechgen.core.checkpoint import identity
from speechgen.core.types import CodecTokens, Waveform
from speechgen.models.codecs.mel_codec.config import MelCodecConfig
from speechgen.models.codecs.mel_codec.model import MelCodec
from speechgen.nn.windows import in_windows

CHUNK_FRAMES = 2048
"""Mel frames that are rendered at once."""


class MelCodecGenerator:
    """Codes audio of any rate; what it decodes has the mel's."""

    def __init__(self, network: MelCodec, config: MelCodecConfig) -> None:
        self.network, self.config = network, config
        self.identity = identity("mel_codec", network.coder)
        self.sample_rate, self.rate = config.mel.sample_rate, config.rate
        self.size, self.num_codebooks, self.segmented = config.codebook_size, config.num_codebooks, False
        synthesis = config.mel.n_fft // config.mel.hop_samples
        self._reach = 3 * (config.vocoder_depth + 1) + synthesis + corrected_frames(config.mel, config.corrections)

    @torch.inference_mode()
    def encode(self, audio: Waveform, codebooks: int | None = None) -> CodecTokens:
        """Return ceil(L / hop) frames of codes.

        Args:
            audio: of any rate.
            codebooks: use the first ones only.

        Raises:
            ValueError: the codec has not as many codebooks, or the audio is not finite.
        """
        if codebooks is not None and not 1 <= codebooks <= self.num_codebooks:
            raise ValueError(f"{self.identity} has {self.num_codebooks} codebooks, {codebooks} were asked for")
        audio = resample(audio, self.sample_rate)
        if not audio.samples.isfinite().all():
            raise ValueError("the audio holds NaN or infinite samples: export it again")
        coded = [self._encode_row(row, codebooks) for row in audio.rows]
        ids = pad_sequence([codes.T for codes in coded], batch_first=True).transpose(1, 2)  # [B, Q, T]
        lengths = torch.tensor([codes.shape[1] for codes in coded], device=ids.device)
        return CodecTokens(ids, lengths, self.rate, self.size, self.identity)

    @torch.inference_mode()
    def decode(self, tokens: CodecTokens) -> Waveform:
        """Return T * hop samples for T frames.

        Raises:
            ValueError: the codes are another codec's, or out of range.
        """
        tokens.require(self.identity, self.size, self.num_codebooks)
        rows = [self._decode_row(ids[:, :length]) for ids, length in zip(tokens.ids, tokens.lengths.tolist(), strict=True)]
        return Waveform.from_rows(rows, self.sample_rate)

    def _encode_row(self, samples: Tensor, codebooks: int | None) -> Tensor:
        """Codes [Q, T] of samples [L]."""
        frames = -(-len(samples) // self.config.hop_samples)
        if frames == 0:
            return samples.new_zeros(codebooks or self.num_codebooks, 0, dtype=torch.int64)
        # Silence fills up the last frame, and the half window without which there is no first.
        filled = max(frames * self.config.hop_samples, self.config.mel.n_fft // 2 + 1)
        mel = log_mel(F.pad(samples[None], (0, filled - len(samples))), self.config.mel)  # [1, T, M]
        wanted = frames * self.config.frames
        return self.network.quantizer.encode(self.network.encode(mel[:, :wanted]), codebooks)[0]

    def _decode_row(self, codes: Tensor) -> Tensor:
        """Samples [L] of codes [Q, T]."""
        settings, size = self.config.mel, codes.shape[1] * self.config.frames
        if size == 0:
            return self.network.quantizer.vectors.new_zeros(0)
        mel = self.network.decode(self.network.quantizer.decode(codes[None]))
        mel = torch.cat((mel, mel[:, -1:]), dim=1)  # the frame behind the last sample

        def window(low: int, high: int) -> Tensor:
            part = mel[:, low : high + 1]
            return corrected(self.network.render(part), part, settings, self.config.corrections)[0]

        return in_windows(window, size, step=CHUNK_FRAMES, reach=self._reach, hop=settings.hop_samples)
