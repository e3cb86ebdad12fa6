"""The token transducer as a SemanticModel."""

from __future__ import annotations

import torch
from torch import Tensor

from speechgen.core.protocols import Progress
from speechgen.core.types import Mel, SemanticTokens, Text
from speechgen.models.semantic.token_transducer.config import TransducerConfig, TransducerOptions
from speechgen.models.semantic.token_transducer.model import State, TokenTransducer
from speechgen.nn.masks import valid_mask
from speechgen.sampling.transducer import decode


class TransducerGenerator:
    """Speaks one text at the pace and in the manner of one reference."""

    def __init__(self, network: TokenTransducer, config: TransducerConfig) -> None:
        self.network, self.config = network, config

    @torch.inference_mode()
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
        network = self.network
        style = network.reference(reference.values, valid_mask(reference.lengths, reference.values.shape[1]))
        encoded = network.encode(text.ids, text.lengths, style)[0]  # [S, D]

        def joint(symbol: int, state: State) -> Tensor:
            return network.join(encoded[symbol], state[0][0])

        def advance(token: int, state: State) -> State:
            return network.advance(token, state, style)

        decoded = decode(
            joint,
            advance,
            network.start(style),
            int(text.lengths[0]),
            max_per_symbol=options.max_tokens_per_symbol,
            temperature=options.temperature,
            top_k=options.top_k,
            blank_bias=options.blank_bias,
            rng=rng,
            progress=progress,
        )
        device = text.ids.device
        kept = _at_speed(len(decoded.tokens), options.speed)
        ids = torch.tensor(decoded.tokens, dtype=torch.long)[kept][None].to(device)  # [1, T]
        durations = torch.tensor(decoded.durations)  # [S]
        owners = torch.arange(len(durations)).repeat_interleave(durations)[kept]  # symbol of every token, [T]
        lasting = torch.bincount(owners, minlength=len(durations))[None].to(device)
        lengths = torch.tensor([ids.shape[1]], device=device)
        return SemanticTokens(ids, lengths, self.config.token_rate, self.config.num_tokens, lasting)


def _at_speed(count: int, speed: float) -> Tensor:
    """Indices of `count` tokens, repeated or dropped evenly so that the pace changes by exactly `speed`; one at least stays."""
    index = ((torch.arange(max(min(1, count), round(count / speed))) + 0.5) * speed).long()
    return index.clamp(max=max(0, count - 1))
