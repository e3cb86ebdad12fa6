"""The mel codec as a Codec: audio to codes and back, whole or in chunks with the same result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from speechgen.audio.resample import resample
from speechgen.audio.spectrogram import corrected, corrected_frames, log_mel
from speechgen.core.checkpoint import identity
from speechgen.core.types import CodecTokens, Mel, Waveform
from speechgen.models.codecs.mel_codec.config import MelCodecConfig
from speechgen.models.codecs.mel_codec.model import MelCodec
from speechgen.nn.windows import as_it_comes, in_windows

CHUNK_FRAMES = 2048
"""Mel frames that are rendered at once."""


class MelCodecGenerator:
    """Codes audio of any rate; what it decodes has the mel's."""

    def __init__(self, network: MelCodec, config: MelCodecConfig) -> None:
        self.network, self.config, self.mel = network, config, config.mel
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
        self._check_codebooks(codebooks)
        audio = resample(audio, self.sample_rate)
        audio.require_finite()
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

    @torch.inference_mode()
    def decode_mel(self, tokens: CodecTokens) -> Mel:
        """Return the mel of codes, `frames` for each; what `decode` renders.

        Raises:
            ValueError: as of `decode`.
        """
        tokens.require(self.identity, self.size, self.num_codebooks)
        return Mel(self._mel(tokens.ids), tokens.lengths * self.config.frames, self.mel)

    def encode_stream(self, chunks: Iterable[Waveform], codebooks: int | None = None) -> Iterator[CodecTokens]:
        """Yield the codes of one row of audio as it comes, in chunks of any length; together they are what `encode` returns.

        A code is known as soon as the mel's window around it is: 43 ms after its beginning, in the bundled codec.

        Raises:
            ValueError: a chunk is not one row at the codec's rate, or as of `encode`.
        """
        self._check_codebooks(codebooks)
        # A mel's window lies half before and half behind its frame.
        half = -(-self.config.mel.n_fft // 2 // self.config.hop_samples)
        behind = self.network.encoder.reach + half
        for ids in as_it_comes(
            lambda held: self._encode_row(held, codebooks),
            (chunk.piece(self.sample_rate) for chunk in chunks),
            unit=self.config.hop_samples,
            hop=1,
            behind=behind,
            ahead=half,
        ):
            yield CodecTokens(ids[None], torch.tensor([ids.shape[1]]), self.rate, self.size, self.identity)

    def decode_stream(self, chunks: Iterable[CodecTokens]) -> Iterator[Waveform]:
        """Yield the audio of one row of codes as they come; together it is what `decode` returns.

        It follows the codes at the distance that the vocoder sees ahead, 0.4 s in the bundled codec.

        Raises:
            ValueError: the codes are another codec's, or out of range, or of several rows.
        """

        def pieces() -> Iterator[Tensor]:
            for chunk in chunks:
                chunk.require(self.identity, self.size, self.num_codebooks)
                if len(chunk.ids) != 1:
                    raise ValueError(f"a chunk must be one row of codes, got {len(chunk.ids)}")
                yield chunk.ids[0]

        # One frame more on either side: at an end that is none, the frame behind the last sample is a copy.
        ahead = -(-(self._reach + 1) // self.config.frames)
        behind = self.network.decoder.reach + ahead
        for samples in as_it_comes(self._decode_row, pieces(), unit=1, hop=self.config.hop_samples, behind=behind, ahead=ahead):
            yield Waveform.from_rows([samples], self.sample_rate)

    def _check_codebooks(self, codebooks: int | None) -> None:
        if codebooks is not None and not 1 <= codebooks <= self.num_codebooks:
            raise ValueError(f"{self.identity} has {self.num_codebooks} codebooks, {codebooks} were asked for")

    @torch.inference_mode()
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

    @torch.inference_mode()
    def _decode_row(self, codes: Tensor) -> Tensor:
        """Samples [L] of codes [Q, T]."""
        settings, size = self.config.mel, codes.shape[1] * self.config.frames
        if size == 0:
            return self.network.quantizer.vectors.new_zeros(0)
        mel = self._mel(codes[None])
        mel = torch.cat((mel, mel[:, -1:]), dim=1)  # the frame behind the last sample

        def window(low: int, high: int) -> Tensor:
            part = mel[:, low : high + 1]
            return corrected(self.network.render(part), part, settings, self.config.corrections)[0]

        return in_windows(window, size, step=CHUNK_FRAMES, reach=self._reach, hop=settings.hop_samples)

    def _mel(self, codes: Tensor) -> Tensor:
        """Log-mel [B, T frames, M] of codes [B, Q, T]."""
        mel: Tensor = self.network.decode(self.network.quantizer.decode(codes))
        return mel
