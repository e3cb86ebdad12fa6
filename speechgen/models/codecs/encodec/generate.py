"""EnCodec as a Codec: audio to codes and back, whole or in chunks with the same result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from speechgen.audio.resample import resample
from speechgen.core.checkpoint import identity
from speechgen.core.types import CodecTokens, Waveform
from speechgen.models.codecs.encodec.config import EncodecConfig
from speechgen.models.codecs.encodec.model import Encodec
from speechgen.nn.streaming import Stream

CHUNK_SECONDS = 20.0
"""What a causal network reads at once of long audio."""


class EncodecGenerator:
    """Codes audio of any rate; what it decodes has the codec's own."""

    def __init__(self, network: Encodec, config: EncodecConfig) -> None:
        self.network, self.config = network, config
        self.identity = identity("encodec", network)
        self.sample_rate, self.rate = config.sample_rate, config.rate
        self.size, self.num_codebooks = config.codebook_size, config.num_codebooks
        self.segmented = config.segment_seconds is not None

    @torch.inference_mode()
    def encode(self, audio: Waveform, codebooks: int | None = None) -> CodecTokens:
        """Return ceil(L / hop) frames of codes; with segments, so many of each.

        Args:
            audio: of any rate.
            codebooks: use the first ones only.

        Raises:
            ValueError: the codec has not as many codebooks, or the audio is not finite.
        """
        self._check_codebooks(codebooks)
        audio = resample(audio, self.sample_rate)
        audio.require_finite()
        # Row by row: the end of a short row must not see what pads it.
        coded = [self._encode_row(row, codebooks) for row in audio.rows]
        ids = pad_sequence([codes.T for codes, _ in coded], batch_first=True).transpose(1, 2)  # [B, Q, T]
        scales = pad_sequence([levels for _, levels in coded], batch_first=True) if self.config.segment_seconds else None
        lengths = torch.tensor([codes.shape[1] for codes, _ in coded], device=ids.device)
        return CodecTokens(ids, lengths, self.rate, self.size, self.identity, scales)

    @torch.inference_mode()
    def decode(self, tokens: CodecTokens) -> Waveform:
        """Return T * hop samples for T frames; of segments, what they last together.

        Raises:
            ValueError: the codes are another codec's, or out of range.
        """
        tokens.require(self.identity, self.size, self.num_codebooks)
        rows = [
            self._decode_row(ids[:, :length], None if tokens.scales is None else tokens.scales[row])
            for row, (ids, length) in enumerate(zip(tokens.ids, tokens.lengths.tolist(), strict=True))
        ]
        return Waveform.from_rows(rows, self.sample_rate)

    def encode_stream(self, chunks: Iterable[Waveform], codebooks: int | None = None) -> Iterator[CodecTokens]:
        """Yield the codes of one row of audio as it comes, in chunks of any length; together they are what `encode` returns.

        Raises:
            ValueError: the codec is not causal, or a chunk is not one row at its rate, or not finite.
        """
        self._check_causal()
        self._check_codebooks(codebooks)

        pieces = (self._stereo(chunk.piece(self.sample_rate)) for chunk in chunks)
        hop = self.config.hop_samples
        for latent in _streamed(self.network.encoder, pieces, unit=hop, first=hop * self._first_frames):
            yield self._tokens(self.network.quantizer.encode(latent, codebooks))

    def decode_stream(self, chunks: Iterable[CodecTokens]) -> Iterator[Waveform]:
        """Yield the audio of one row of codes as they come; together it is what `decode` returns.

        Raises:
            ValueError: the codec is not causal, or the codes are another codec's, or out of range.
        """
        self._check_causal()

        def pieces() -> Iterator[Tensor]:
            for chunk in chunks:
                chunk.require(self.identity, self.size, self.num_codebooks)
                yield self.network.quantizer.decode(chunk.ids)

        for made in _streamed(self.network.decoder, pieces(), unit=1, first=self._first_frames):
            yield Waveform.single(made[0].mean(0).clamp(-1, 1), self.sample_rate)

    @property
    def _first_frames(self) -> int:
        """Frames without which the beginning has no mirror image."""
        return self.config.kernel if self.config.pad_mode == "reflect" else 1

    def _encode_row(self, samples: Tensor, codebooks: int | None) -> tuple[Tensor, Tensor]:
        """Codes [Q, T] of samples [L], and the level of each segment."""
        config, network = self.config, self.network
        if len(samples) == 0:
            return samples.new_zeros(codebooks or self.num_codebooks, 0, dtype=torch.int64), samples.new_zeros(0)
        if config.segment_seconds is None:
            pieces: Iterable[Tensor] = self._stereo(samples).split(self._chunk(len(samples)), dim=-1)
            latents = list(self._coded(network.encoder, pieces, config.hop_samples))
            return network.quantizer.encode(torch.cat(latents, dim=-1), codebooks)[0], samples.new_ones(1)
        codes, levels = [], []
        size, step = self._segment()
        for start in range(0, len(samples), step):
            segment = samples[start : start + size]
            level = 1e-8 + segment.square().mean().sqrt() if config.normalize else samples.new_ones(())
            latent = network.encoder(self._stereo(segment / level))
            codes.append(network.quantizer.encode(latent, codebooks)[0])
            levels.append(level)
        return torch.cat(codes, dim=-1), torch.stack(levels)

    def _decode_row(self, codes: Tensor, levels: Tensor | None) -> Tensor:
        """Samples [L] of codes [Q, T]."""
        config, network = self.config, self.network
        if codes.shape[1] == 0:
            return network.quantizer.vectors.new_zeros(0)
        latent = network.quantizer.decode(codes[None])  # [1, D, T]
        if config.segment_seconds is None or levels is None:
            frames = max(1, self._chunk(codes.shape[1] * config.hop_samples) // config.hop_samples)
            made = list(self._coded(network.decoder, latent.split(frames, dim=-1), 1))
            return torch.cat(made, dim=-1)[0].mean(0)
        size, step = self._segment()
        parts = latent.split(-(-size // config.hop_samples), dim=-1)
        segments = [network.decoder(part)[0].mean(0) * level for part, level in zip(parts, levels, strict=False)]
        return _overlapped(segments, step)

    def _coded(self, network: nn.Module, pieces: Iterable[Tensor], unit: int) -> Iterator[Tensor]:
        """A whole signal through the encoder or decoder, piece by piece if it can be."""
        if self.config.causal:
            return _streamed(network, pieces, unit=unit, first=unit * self._first_frames)
        return iter([network(torch.cat(tuple(pieces), dim=-1))])

    def _chunk(self, samples: int) -> int:
        """Samples of a piece: whole frames, or all if nothing can be cut."""
        hop = self.config.hop_samples
        return max(1, round(CHUNK_SECONDS * self.rate)) * hop if self.config.causal else max(1, samples)

    def _segment(self) -> tuple[int, int]:
        """Length of a segment and distance to the next, in samples."""
        size = int((self.config.segment_seconds or 0) * self.sample_rate)
        return size, max(1, int((1 - self.config.segment_overlap) * size))

    def _stereo(self, samples: Tensor) -> Tensor:
        """Samples [L] as the network takes them, [1, channels, L]."""
        return samples.expand(1, self.config.channels, -1)

    def _tokens(self, ids: Tensor) -> CodecTokens:
        lengths = torch.full((len(ids),), ids.shape[-1], device=ids.device)
        return CodecTokens(ids, lengths, self.rate, self.size, self.identity)

    def _check_codebooks(self, codebooks: int | None) -> None:
        if codebooks is not None and not 1 <= codebooks <= self.num_codebooks:
            raise ValueError(f"{self.identity} has {self.num_codebooks} codebooks, {codebooks} were asked for")

    def _check_causal(self) -> None:
        if not self.config.causal:
            raise ValueError(f"{self.identity} sees the future, so that it cannot stream: take a causal codec")


@torch.inference_mode()
def _streamed(network: nn.Module, pieces: Iterable[Tensor], *, unit: int, first: int) -> Iterator[Tensor]:
    """What a causal network makes of a signal [B, C, L] that comes in pieces.

    Args:
        network: called with a chunk and its Stream.
        pieces: of any length.
        unit: chunks are whole multiples of it, but for the last.
        first: least length of the first.
    """
    stream, waiting = Stream(), None
    for piece in pieces:
        waiting = piece if waiting is None else torch.cat((waiting, piece), dim=-1)
        size = waiting.shape[-1] // unit * unit
        if size >= (unit if stream.memory else first):
            yield network(waiting[..., :size], stream)
            waiting = waiting[..., size:]
    if waiting is not None and waiting.shape[-1]:
        stream.last = True
        yield network(waiting, stream)


def _overlapped(segments: list[Tensor], step: int) -> Tensor:
    """Join segments [L] that begin `step` apart: where two overlap, one fades into the other."""
    total = step * (len(segments) - 1) + len(segments[-1])
    size = len(segments[0])
    ramp = torch.linspace(0, 1, size + 2, device=segments[0].device)[1:-1]
    weights = 0.5 - (ramp - 0.5).abs()
    made, sums = segments[0].new_zeros(total), segments[0].new_zeros(total)
    for index, segment in enumerate(segments):
        place = slice(index * step, min(total, index * step + len(segment)))
        length = place.stop - place.start
        made[place] += (weights[: len(segment)] * segment)[:length]
        sums[place] += weights[:length]
    return made / sums
