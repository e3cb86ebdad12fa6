"""The token transducer as a SemanticModel."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import torch
from torch import Tensor

from speechgen.core.protocols import Progress
from speechgen.core.types import Mel, SemanticTokens, Text
from speechgen.models.semantic.token_transducer.config import TransducerConfig, TransducerOptions
from speechgen.models.semantic.token_transducer.model import State, TokenTransducer
from speechgen.nn.masks import valid_mask
from speechgen.sampling.transducer import Emitted, decode


class TransducerGenerator:
    """Speaks one text at the pace and in the manner of one reference."""

    def __init__(self, network: TokenTransducer, config: TransducerConfig) -> None:
        self.network, self.config = network, config

    def generate(
        self, text: Text, reference: Mel, *, options: TransducerOptions, rng: torch.Generator, progress: Progress | None = None
    ) -> SemanticTokens:
        """Return one row of tokens; every symbol has had its turn, in order.

        Args:
            text: one row of phoneme ids.
            reference: one row, whose pace is followed.
            options: sampling and tempo.
            rng: source of samples.
            progress: called after each symbol.
        """
        growing = self.stream(text, reference, options=options, rng=rng)
        for done in range(1, int(text.lengths[0]) + 1):
            made = next(growing)
            if progress is not None:
                progress(done, int(text.lengths[0]))
        return made

    @torch.inference_mode()
    def stream(
        self, text: Text, reference: Mel, *, options: TransducerOptions, rng: torch.Generator
    ) -> Iterator[SemanticTokens]:
        """Yield after each symbol all tokens so far; the last are those that `generate` returns."""
        count = int(text.lengths[0])
        tokens: list[int] = []
        durations: list[int] = []
        for emitted in self._decode(text, range(count), [], reference, options, rng):
            tokens += emitted.tokens
            durations.append(len(emitted.tokens))
            yield self._row(tokens, durations, options.speed, last=len(durations) == count).to(text.ids.device)

    @torch.inference_mode()
    def infill(
        self,
        text: Text,
        symbols: range,
        before: SemanticTokens,
        reference: Mel,
        *,
        options: TransducerOptions,
        rng: torch.Generator,
    ) -> SemanticTokens:
        """Return one row of tokens of some symbols, as they follow from what is known before them and the whole text around.

        Args:
            text: one row of phoneme ids.
            symbols: those to speak.
            before: one row, the tokens that the symbols before them have had in a recording.
            reference: one row, whose pace is followed.
            options: sampling and tempo.
            rng: source of samples.
        """
        emitted = list(self._decode(text, symbols, before.ids[0].tolist(), reference, options, rng))
        tokens = [token for symbol in emitted for token in symbol.tokens]
        return self._row(tokens, [len(symbol.tokens) for symbol in emitted], options.speed, last=True).to(text.ids.device)

    def _decode(
        self,
        text: Text,
        symbols: range,
        before: list[int],
        reference: Mel,
        options: TransducerOptions,
        rng: torch.Generator,
    ) -> Iterator[Emitted]:
        """Walk through `symbols`, the predictor having heard the tokens `before` them."""
        network = self.network
        style = network.reference(reference.values, valid_mask(reference.lengths, reference.values.shape[1]))
        encoded = network.encode(text.ids, text.lengths, style)[0]  # [S, D]

        def joint(symbol: int, state: State) -> Tensor:
            return network.join(encoded[symbols.start + symbol], state[0][0])

        def advance(token: int, state: State) -> State:
            return network.advance(token, state, style)

        return decode(
            joint,
            advance,
            reduce(lambda state, token: advance(token, state), before, network.start(style)),
            len(symbols),
            max_per_symbol=options.max_tokens_per_symbol,
            temperature=options.temperature,
            top_k=options.top_k,
            blank_bias=options.blank_bias,
            rng=rng,
        )

    def _row(self, tokens: list[int], durations: list[int], speed: float, *, last: bool) -> SemanticTokens:
        """One row of tokens at another pace; those that are not certain yet are left out unless it is the last."""
        kept = _at_speed(len(tokens), speed, last=last)
        ids = torch.tensor(tokens, dtype=torch.long)[kept][None]  # [1, T]
        owners = torch.arange(len(durations)).repeat_interleave(torch.tensor(durations))[kept]  # symbol of every token, [T]
        lasting = torch.bincount(owners, minlength=len(durations))[None]
        return SemanticTokens(ids, torch.tensor([ids.shape[1]]), self.config.token_rate, self.config.num_tokens, lasting)


def _at_speed(count: int, speed: float, *, last: bool) -> Tensor:
    """Indices of `count` tokens, repeated or dropped evenly so that the pace changes by exactly `speed`; one at least stays."""
    size = max(min(1, count), round(count / speed)) if last else int(count / speed)
    index = ((torch.arange(size) + 0.5) * speed).long()
    return index.clamp(max=max(0, count - 1))
