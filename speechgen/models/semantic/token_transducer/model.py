"""Token transducer network (Kim et al., 2023, section 2.2): text encoder, predictor, reference encoder, joint.

The short side, phonemes, is the RNN-T's time axis; the long side, semantic tokens, are its labels. The loss is
losses/transducer, decoding is sampling/transducer.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from speechgen.losses.transducer import additive_loss, choose_windows
from speechgen.models.semantic.token_transducer.config import TransducerConfig
from speechgen.nn.conformer import Conformer
from speechgen.nn.masks import valid_mask
from speechgen.nn.pooling import ReferenceEncoder


class TransducerInputs(NamedTuple):
    """A batch: `history` are the tokens shifted right behind the start symbol, some of them hidden."""

    phonemes: Tensor  # [B, S]
    phoneme_lengths: Tensor  # [B]
    tokens: Tensor  # [B, U]
    token_lengths: Tensor  # [B]
    history: Tensor  # [B, U + 1]
    reference: Tensor  # [B, T, M] log-mel of another utterance of the speaker
    reference_lengths: Tensor  # [B]


class Lattice(NamedTuple):
    """Scores of the windows' cells."""

    logits: Tensor  # [B, S, R, K + 1], the last class is blank
    starts: Tensor  # [B, S] first label position of each window
    additive_loss: Tensor  # [] loss of the joiner that placed the windows


State = tuple[Tensor, list[tuple[Tensor, Tensor]]]
"""Predictor output [1, D], hidden and cell state of each LSTM layer."""


class AdaptiveNorm(nn.Module):
    """LayerNorm whose scale and shift come from the reference vector."""

    def __init__(self, width: int, reference_width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.style = nn.Linear(reference_width, 2 * width)
        nn.init.zeros_(self.style.weight)
        nn.init.zeros_(self.style.bias)

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        """Map [B, T, D] with reference [B, R] to [B, T, D]."""
        scale, shift = self.style(reference)[:, None].chunk(2, dim=-1)
        return self.norm(x) * (1 + scale) + shift


class TokenTransducer(nn.Module):
    """The whole network; `forward` is the training lattice, the other methods are its steps for decoding."""

    def __init__(self, config: TransducerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.symbols = nn.Embedding(config.vocabulary_size, width)
        self.text = Conformer(width, config.depth, config.num_heads, config.ff_multiple, config.kernel, config.dropout)
        # Row num_tokens: the start, and a token hidden in training.
        self.tokens = nn.Embedding(config.num_tokens + 1, config.predictor_width)
        self.predictor = nn.LSTM(config.predictor_width, config.predictor_width, config.predictor_depth, batch_first=True)
        self.predicted = nn.Linear(config.predictor_width, width)
        self.reference = ReferenceEncoder(config.mel.num_bins, config.reference_width)
        # Differs from paper: the reference styles both inputs of the joint rather than blocks inside it, where every
        # cell of the lattice would pay for it.
        self.text_style = AdaptiveNorm(width, config.reference_width)
        self.predicted_style = AdaptiveNorm(width, config.reference_width)
        self.joint_out = nn.Linear(width, config.num_tokens + 1)
        self.text_scores = nn.Linear(width, config.num_tokens + 1)
        self.token_scores = nn.Linear(width, config.num_tokens + 1)
        self.dropout = nn.Dropout(config.dropout)
        # Tokens outnumber symbols: start at the emission rate that makes both ends meet, about four tokens a symbol.
        with torch.no_grad():
            for layer in (self.joint_out, self.text_scores):
                layer.bias[-1] = math.log(config.num_tokens / 4)

    def forward(self, inputs: TransducerInputs, width: int) -> Lattice:
        """Score the training lattice, in a window of label positions for each phoneme (Kuang et al., 2022).

        Args:
            inputs: phonemes, tokens and reference of a batch.
            width: label positions R of a window; U + 1 or more scores the whole lattice.
        """
        style = self.reference(inputs.reference, valid_mask(inputs.reference_lengths, inputs.reference.shape[1]))
        encoded = self.encode(inputs.phonemes, inputs.phoneme_lengths, style)  # [B, S, D]
        embedded = self.dropout(self.tokens(inputs.history))
        with torch.autocast(embedded.device.type, enabled=False):  # the CPU's LSTM kernel has no bf16 backward
            hidden, _ = self.predictor(embedded.float())
        predicted = self.predicted_style(self.predicted(self.dropout(hidden)), style)  # [B, U + 1, D]
        additive = additive_loss(
            self.text_scores(encoded), self.token_scores(predicted), inputs.tokens, inputs.phoneme_lengths, inputs.token_lengths
        )
        needed = int((inputs.token_lengths / inputs.phoneme_lengths).max()) + 3
        width = min(max(width, needed), predicted.shape[1])
        starts = choose_windows(additive.occupation, inputs.phoneme_lengths, inputs.token_lengths, width)  # [B, S]
        position = starts[..., None] + torch.arange(width, device=starts.device)  # [B, S, R]
        index = position.clamp(max=predicted.shape[1] - 1).flatten(1)[..., None].expand(-1, -1, predicted.shape[2])
        windows = predicted.gather(1, index).unflatten(1, position.shape[1:])  # [B, S, R, D]
        return Lattice(self.join(encoded[:, :, None], windows), starts, additive.loss)

    def encode(self, phonemes: Tensor, lengths: Tensor, style: Tensor) -> Tensor:
        """Map phonemes [B, S] and style [B, R] to [B, S, D]."""
        x = self.text(self.symbols(phonemes), valid_mask(lengths, phonemes.shape[1]))
        styled: Tensor = self.text_style(x, style)
        return styled

    def join(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        """Combine broadcastable [..., D] and [..., D] to logits [..., K + 1]."""
        logits: Tensor = self.joint_out(torch.tanh(encoded + predicted))
        return logits

    def start(self, style: Tensor) -> State:
        """Predictor state before the first token, for one utterance with style [1, R]."""
        zeros = style.new_zeros(1, self.config.predictor_width)
        return self.advance(self.config.num_tokens, (zeros, [(zeros, zeros)] * self.config.predictor_depth), style)

    def advance(self, token: int, state: State, style: Tensor) -> State:
        """Predictor state after one more token. Cell by cell: for single steps the fused LSTM is many times slower."""
        x, memory = self.tokens.weight[token][None], []
        for weights, cell in zip(self.predictor.all_weights, state[1], strict=True):
            memory.append(torch.lstm_cell(x, cell, *weights))
            x = memory[-1][0]
        return self.predicted_style(self.predicted(x)[None], style)[0], memory
