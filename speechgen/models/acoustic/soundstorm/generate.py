"""SoundStorm as a DialogueModel: codes of prompts are known, those of what is to be said are filled in (paper, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from speechgen.core.protocols import Progress
from speechgen.core.types import CodecTokens, SemanticTokens
from speechgen.models.acoustic.soundstorm.config import SoundStormConfig, SoundStormOptions
from speechgen.models.acoustic.soundstorm.model import SoundStorm
from speechgen.sampling.autoregressive import decode_slots, layout
from speechgen.sampling.masked import Pass, confidence_passes, decode_masked


@dataclass(frozen=True)
class _Segment:
    """A prompt, or something to be said: then its codes are not known."""

    said: Tensor  # [1, T]
    speaker: int = 0
    known: Tensor | None = None  # [1, Q, T]


class SoundStormGenerator:
    """Makes the codes of one utterance behind one prompt, or of a dialogue."""

    def __init__(self, network: SoundStorm, config: SoundStormConfig) -> None:
        self.network, self.config = network, config
        self.speakers = config.speakers

    @torch.inference_mode()
    def generate(
        self,
        tokens: SemanticTokens,
        prompt: CodecTokens,
        prompt_tokens: SemanticTokens,
        *,
        options: SoundStormOptions,
        rng: torch.Generator,
        progress: Progress | None = None,
    ) -> CodecTokens:
        """Return the codes of `tokens` alone, of the prompt's codec and in its voice.

        Args:
            tokens: one row, to be spoken.
            prompt: one row; it may have no frames, then the voice is drawn.
            prompt_tokens: one row, the prompt's tokens.
            options: passes, temperature and the like.
            rng: source of samples; the same state gives the same codes.
            progress: called after each pass.

        Raises:
            ValueError: the prompt's codes are not of a codec that this model was made for.
        """
        before, own = self._prompt(prompt, prompt_tokens, 0), _Segment(tokens.at(self.config.code_rate))
        assert before.known is not None
        if own.said.shape[1] == 0:
            made = before.known[..., :0]
        elif self.config.order == "parallel":
            (made,) = self._in_passes((before, own), options, rng, progress)
        else:
            made = self._in_slots(before.known, torch.cat((before.said, own.said), dim=1), options, rng, progress)
        return self._carried(made, prompt, options)

    @torch.inference_mode()
    def converse(
        self,
        turns: Sequence[tuple[int, SemanticTokens]],
        prompts: Sequence[CodecTokens],
        prompt_tokens: Sequence[SemanticTokens],
        *,
        options: SoundStormOptions,
        rng: torch.Generator,
        progress: Progress | None = None,
    ) -> list[CodecTokens]:
        """Return the codes of every turn of a dialogue, made together in one generation (paper, section 4.5).

        Args:
            turns: who speaks, as a number, and what, one row each.
            prompts: one row for each speaker.
            prompt_tokens: their tokens.
            options: as for `generate`.
            rng: likewise.
            progress: called after each pass.

        Raises:
            ValueError: there are more speakers than the model holds apart, or a prompt is of another codec.
        """
        if len(prompts) > self.speakers or self.config.order != "parallel":
            raise ValueError(f"this model holds {self.speakers} speakers apart, not {len(prompts)}: take one trained for more")
        segments: list[_Segment] = []
        for number, tokens in turns:
            if all(segment.speaker != number for segment in segments):
                segments.append(self._prompt(prompts[number], prompt_tokens[number], number))
            segments.append(_Segment(tokens.at(self.config.code_rate), number))
        made = self._in_passes(segments, options, rng, progress)
        return [self._carried(codes, prompts[number], options) for codes, (number, _) in zip(made, turns, strict=True)]

    def _prompt(self, prompt: CodecTokens, tokens: SemanticTokens, speaker: int) -> _Segment:
        self._check(prompt)
        known = prompt.ids[:, : self.config.num_codebooks]
        return _Segment(tokens.at(self.config.code_rate, known.shape[2]), speaker, known)

    def _carried(self, made: Tensor, prompt: CodecTokens, options: SoundStormOptions) -> CodecTokens:
        made = made[:, : options.codebooks or self.config.num_codebooks]
        return replace(prompt, ids=made, lengths=torch.full((1,), made.shape[2], device=made.device))

    def _in_passes(
        self, segments: Sequence[_Segment], options: SoundStormOptions, rng: torch.Generator, progress: Progress | None
    ) -> list[Tensor]:
        """Fill in the segments that are not known: [1, Q, T] each."""
        config, mask_id = self.config, self.network.mask_id
        unknown = [F.pad(each.said[:, None], (0, 0, 0, config.num_codebooks - 1)) for each in segments]
        codes = torch.cat(
            [
                torch.full_like(blank, mask_id) if each.known is None else each.known
                for each, blank in zip(segments, unknown, strict=True)
            ],
            dim=2,
        )
        free = torch.cat([torch.full_like(each.said, each.known is None, dtype=torch.bool) for each in segments], dim=1)
        said = self.network.said(
            torch.cat([each.said for each in segments], dim=1),
            torch.cat([torch.full_like(each.said, each.speaker) for each in segments], dim=1),
        )
        levels = min(options.codebooks or config.num_codebooks, config.num_codebooks)
        made = decode_masked(
            _Predictor(self.network, said),
            codes,
            free,
            confidence_passes(
                [options.steps] + [options.fine_steps] * (levels - 1),
                temperature=options.temperature,
                noise=options.confidence_noise,
            ),
            mask_id=mask_id,
            top_k=options.top_k,
            rng=rng,
            progress=progress,
        )
        parts = made.split([each.said.shape[1] for each in segments], dim=2)
        return [part for part, each in zip(parts, segments, strict=True) if each.known is None]

    def _in_slots(
        self, known: Tensor, said: Tensor, options: SoundStormOptions, rng: torch.Generator, progress: Progress | None
    ) -> Tensor:
        assert self.config.order != "parallel"
        network, books = self.network, self.config.num_codebooks
        newest = layout(self.config.order, said.shape[1], books).max(1).values.to(said.device)  # [S]
        heard = network.said(said[:, newest], torch.zeros_like(said[:, newest]))  # [1, S, D]
        cache = network.trunk.cache(len(newest))

        def predict(inputs: Tensor, wanted: list[int]) -> Tensor:
            start = cache.length
            x = heard[:, start : start + inputs.shape[2]] + network.codes(inputs, range(books))
            last = network.refine(x, cache)[:, -1]
            return torch.stack([network.heads(last, level) for level in wanted], dim=1)

        return decode_slots(
            predict,
            known,
            said.shape[1] - known.shape[2],
            self.config.order,
            filler=network.mask_id,
            temperature=options.temperature,
            top_k=options.top_k,
            rng=rng,
            progress=progress,
        )

    def _check(self, prompt: CodecTokens) -> None:
        config = self.config
        if prompt.size != config.codebook_size or abs(prompt.rate - config.code_rate) > 1e-3:
            raise ValueError(
                f"this model makes codes of {config.codebook_size} at {config.code_rate:g} a second, the prompt has codes of "
                f"{prompt.size} at {prompt.rate:g}: choose the codec that it was trained with"
            )
        if prompt.ids.shape[1] < config.num_codebooks:
            raise ValueError(
                f"this model needs {config.num_codebooks} codebooks of the prompt, which has {prompt.ids.shape[1]}: "
                "choose the codec that it was trained with"
            )


@dataclass
class _Predictor:
    """The network as decode_masked asks it. What stays the same for all passes of a level is embedded once."""

    network: SoundStorm
    said: Tensor  # [1, T, D]
    level: int = -1
    others: Tensor | None = None  # [1, T, D] tokens and the codes of all other levels

    def __call__(self, codes: Tensor, masked: Tensor, step: Pass) -> Tensor:
        if self.others is None or step.level != self.level:
            self.level = step.level
            rest = [level for level in range(codes.shape[1]) if level != step.level]
            self.others = self.said + self.network.codes(codes[:, rest], rest)
        x = self.others + self.network.codes(codes[:, [step.level]], [step.level])
        return self.network.heads(self.network.refine(x)[masked], step.level)
