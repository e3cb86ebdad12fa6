"""MAGNeT as a TextToCodes: masked spans are filled in (paper, section 3.2), after a causal prefix (3.5), rescored (3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.core.types import CodecTokens
from speechgen.models.text_to_codes.magnet.config import MAGNeTConfig, MAGNeTOptions
from speechgen.models.text_to_codes.magnet.model import MAGNeT
from speechgen.nn.kv_cache import KeyValueCache
from speechgen.sampling.autoregressive import arrange, decode_slots, inputs_of, layout
from speechgen.sampling.guidance import guide
from speechgen.sampling.masked import Masking, Pass, Rescoring, decode_masked, span_passes
from speechgen.text.captions import word_ids
from speechgen.text.t5 import T5Reader


class MAGNeTGenerator:
    """Makes the codes of what is described.

    Attributes:
        rescorer: the model whose causal predictions rescore; None: this one, which must then be a hybrid.
    """

    rescorer: MAGNeTGenerator | None = None

    def __init__(self, network: MAGNeT, config: MAGNeTConfig) -> None:
        self.network, self.config = network, config
        self.rate, self.size, self.num_codebooks = config.code_rate, config.codebook_size, config.num_codebooks
        self.max_frames = config.max_frames
        self._t5 = T5Reader(config.t5) if config.text == "t5" else None

    @property
    def predicts_next(self) -> bool:
        """Whether it has learnt to make one code after another; it may have where nothing says what it has learnt."""
        return self.config.mode != "masked"

    def rescored_by(self, other: MAGNeTGenerator) -> MAGNeTGenerator:
        """Return the same model with another one, of the same codes, whose causal predictions rescore."""
        made = copy(self)
        made.rescorer = other
        return made

    def refusal(self, options: MAGNeTOptions) -> str:
        """Return why what was learnt cannot do what is asked; nothing if it can."""
        asked = {"causal": options.causal, "prefix_seconds": options.prefix_seconds > 0}
        asked["rescoring"] = options.rescoring > 0 and options.rescorer is None and self.rescorer is None
        names = [name for name, given in asked.items() if given]
        if names and not self.predicts_next:
            return (
                f"{' and '.join(names)} ask for codes one after another, and this model has learnt masked spans alone (mode "
                f"{self.config.mode}): leave {'it' if len(names) == 1 else 'them'} out, or take a hybrid"
                f"{' (another one rescores as rescorer=NAME)' if asked['rescoring'] else ''}"
            )
        if self.config.mode == "causal" and not options.causal:
            return "this model has learnt one code after another alone (mode causal): set causal=true, or take a hybrid"
        return ""

    @torch.inference_mode()
    def generate(
        self,
        descriptions: Sequence[str],
        frames: int,
        prompt: CodecTokens,
        *,
        options: MAGNeTOptions,
        rng: torch.Generator,
        progress: Progress | None = None,
    ) -> CodecTokens:
        """Return the codes of `frames` frames for each description, behind the prompt and of its codec.

        Args:
            descriptions: what is to be heard; an empty one leaves it to chance.
            frames: at least 1; with the prompt at most max_frames.
            prompt: a row for each description; it may have no frames.
            options: passes, guidance and the like.
            rng: source of samples; the same state gives the same codes.
            progress: called after each pass (and after each slot of what is made one code after another).

        Raises:
            UserError: it has not learnt what the options ask for.
            ValueError: the prompt is of another codec, or too long; or the rescorer that is named was not given.
        """
        if told := self.refusal(options):
            raise UserError(told)
        if options.rescorer is not None and self.rescorer is None:
            raise ValueError(f"the rescorer {options.rescorer} is a name alone: give the model itself to rescored_by")
        known = self._known(prompt, len(descriptions), frames)
        words = self._words(descriptions, known.device)
        start, total = known.shape[2], self.max_frames if self.config.fixed_length else known.shape[2] + frames
        alone = frames if options.causal else min(frames, round(options.prefix_seconds * self.rate))
        if alone:
            made = self._one_by_one(words, known, alone, options, rng, progress if alone == frames else None)
            known = torch.cat((known, made), dim=2)
        if alone < frames:
            known = self._in_passes(words, known, total, options, self._rescoring(descriptions, words, options), rng, progress)
        ids = known[:, :, start : start + frames]
        return replace(prompt, ids=ids, lengths=torch.full((len(ids),), frames, device=ids.device))

    def _known(self, prompt: CodecTokens, rows: int, frames: int) -> Tensor:
        config = self.config
        matches = prompt.size == self.size and abs(prompt.rate - self.rate) < 1e-3
        if not matches or prompt.ids.shape[1] < config.num_codebooks:
            raise ValueError(
                f"this model makes {config.num_codebooks} codebooks of {self.size} at {self.rate:g} a second, the prompt has "
                f"{prompt.ids.shape[1]} of {prompt.size} at {prompt.rate:g}: choose the codec that it was trained with"
            )
        if frames < 1 or prompt.ids.shape[2] + frames > self.max_frames or len(prompt.ids) != rows:
            raise ValueError(
                f"{rows} descriptions of {frames} frames behind {len(prompt.ids)} prompts of {prompt.ids.shape[2]}: allowed: "
                f"a prompt for each, and 1 to {self.max_frames} frames in all"
            )
        return prompt.ids[:, : config.num_codebooks]

    def _words(self, descriptions: Sequence[str], device: torch.device) -> _Words:
        """The descriptions and, behind them, as many empty ones."""
        if self._t5 is not None:
            read = self._t5(list(descriptions) + [""] * len(descriptions))
            text, valid = read.hidden.to(device), read.valid.to(device)
        else:
            text, counts = word_ids(descriptions, self.config.word_buckets)
            valid = (torch.arange(text.shape[1]) < counts[:, None]).to(device)
            text = text.to(device).repeat(2, 1)
            valid = torch.cat((valid, torch.zeros_like(valid)))
        return _Words(self.network.read(text, valid), valid)

    def _rescoring(self, descriptions: Sequence[str], words: _Words, options: MAGNeTOptions) -> Rescoring | None:
        """Who rescores, which reads the descriptions in its own way."""
        if not options.rescoring:
            return None
        other = self.rescorer
        if other is None:
            return Rescoring(_Rescorer(self.network, words), options.rescoring)
        return Rescoring(_Rescorer(other.network, other._words(descriptions, words.read.device)), options.rescoring)

    def _in_passes(
        self,
        words: _Words,
        known: Tensor,
        total: int,
        options: MAGNeTOptions,
        rescoring: Rescoring | None,
        rng: torch.Generator,
        progress: Progress | None,
    ) -> Tensor:
        rows, books, start = known.shape
        codes = F.pad(known, (0, total - start), value=self.network.mask_id)
        free = (torch.arange(total, device=codes.device) >= start).expand(rows, -1)
        config = self.config
        return decode_masked(
            _Predictor(self.network, words),
            codes,
            free,
            span_passes(
                [options.steps] + [options.fine_steps] * (books - 1),
                temperature=config.temperature if options.temperature is None else options.temperature,
                most_guidance=config.guidance if options.guidance is None else options.guidance,
                least_guidance=config.least_guidance if options.least_guidance is None else options.least_guidance,
            ),
            mask_id=self.network.mask_id,
            masking=Masking(config.span, options.scoring, options.overlapping),
            top_k=options.top_k,
            top_p=config.top_p if options.top_p is None else options.top_p,
            rescoring=rescoring,
            rng=rng,
            progress=progress,
        )

    def _one_by_one(
        self,
        words: _Words,
        known: Tensor,
        frames: int,
        options: MAGNeTOptions,
        rng: torch.Generator,
        progress: Progress | None,
    ) -> Tensor:
        network, levels = self.network, range(self.num_codebooks)
        cache = KeyValueCache(self.config.depth, known.shape[2] + frames + len(levels))
        branches = 2 if options.causal_guidance else 1
        said = words.branches(branches, len(known))

        def predict(inputs: Tensor, wanted: list[int]) -> Tensor:
            x = network.codes(inputs, levels).repeat(branches, 1, 1)
            last = network.refine(x, said.read, said.valid, x.new_ones(x.shape[:2], dtype=torch.bool), None, cache)[:, -1]
            logits = torch.stack([network.heads(last, level) for level in wanted], dim=1)
            return guide(*logits.chunk(2), options.causal_guidance) if branches == 2 else logits

        return decode_slots(
            predict,
            known,
            frames,
            "delay",
            filler=network.mask_id,
            temperature=options.causal_temperature,
            top_k=options.causal_top_k,
            rng=rng,
            progress=progress,
        )


@dataclass(frozen=True)
class _Words:
    """What is read of the descriptions, and behind them of as many empty ones."""

    read: Tensor  # [2B, W, D]
    valid: Tensor  # [2B, W]

    def branches(self, count: int, rows: int) -> _Words:
        """Both branches of guidance, or the first alone."""
        return _Words(self.read[: count * rows], self.valid[: count * rows])


@dataclass
class _Predictor:
    """The network as decode_masked asks it. What stays the same for all passes of a level is embedded once."""

    network: MAGNeT
    words: _Words
    level: int = -1
    others: Tensor | None = None  # [B, T, D] the codes of all other levels

    def __call__(self, codes: Tensor, masked: Tensor, step: Pass) -> Tensor:
        network = self.network
        if self.others is None or step.level != self.level:
            self.level = step.level
            rest = [level for level in range(codes.shape[1]) if level != step.level]
            self.others = network.codes(codes[:, rest], rest)
        branches = 2 if step.guidance > 0 else 1
        said = self.words.branches(branches, len(codes))
        x = (self.others + network.codes(codes[:, [step.level]], [step.level])).repeat(branches, 1, 1)
        x = network.refine(x, said.read, said.valid, x.new_ones(x.shape[:2], dtype=torch.bool), step.level)
        logits = network.heads(x[masked.repeat(branches, 1)], step.level)
        return guide(*logits.chunk(2), step.guidance) if branches == 2 else logits


@dataclass(frozen=True)
class _Rescorer:
    """What a causal network thinks of the codes of a level, given all before them: one pass without a cache."""

    network: MAGNeT
    words: _Words

    def __call__(self, codes: Tensor, masked: Tensor, step: Pass) -> Tensor:
        network, (rows, books, frames) = self.network, codes.shape
        places = layout("delay", frames, books).to(codes.device)
        given = inputs_of(arrange(codes, places, network.mask_id), network.mask_id)
        said = self.words.branches(1, rows)
        x = network.codes(given, range(books))
        x = network.refine(x, said.read, said.valid, x.new_ones(x.shape[:2], dtype=torch.bool), None)  # [B, S, D]
        return network.heads(x[:, step.level : step.level + frames][masked], step.level)
