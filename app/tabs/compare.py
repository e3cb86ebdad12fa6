"""Compare: one text in several ways side by side, with figures, and a blind test of two of them."""

from __future__ import annotations

import secrets
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from speechgen.service import UserError, catalog
from speechgen.service.compare import Figures, Judge, Workshop, vocoders
from speechgen.service.requests import SynthesisRequest
from speechgen.service.results import SynthesisResult

from ..abx_panel import AbxPanel, Sounds
from ..components import LARGEST_SEED, WAVEFORM, VoiceChoice, about, optional, said, table, value_of
from ..results import saved
from ..work import Page, Turn, Update
from .speak import missing

__all__ = ["PLACE", "TITLE", "build", "missing"]

TITLE, PLACE = "Compare", 30
LETTERS = ["A", "B", "C", "D"]
MAX_CHARACTERS = 600
OWN = "the pipeline's own"
EXAMPLE = "The boy was there when the sun rose, and waited for the first boat."


@dataclass(frozen=True)
class _Way:
    """The controls of one way, and where its sound is heard."""

    letter: str
    column: gr.Column
    pipeline: gr.Dropdown
    vocoder: gr.Dropdown
    steps: gr.Textbox
    guidance: gr.Textbox
    sound: gr.Audio

    @classmethod
    def build(cls, letter: str, visible: bool) -> _Way:
        """Put them where the page is being built."""
        known = list(catalog.pipelines())
        with gr.Column(visible=visible, min_width=200) as column:
            gr.Markdown(f"**{letter}**")
            pipeline = gr.Dropdown(known, value="default" if "default" in known else known[0], label="Pipeline")
            vocoder = gr.Dropdown([OWN, *vocoders()], value=OWN, label="Vocoder")
            steps, guidance = optional("steps"), optional("guidance")
            steps.value = "16" if letter == "B" else ""  # so that there is something to hear
            sound = gr.Audio(
                label=letter, interactive=False, visible=False, buttons=["download"], waveform_options=WAVEFORM,
                elem_classes="finished-sound",
            )  # fmt: skip
        return cls(letter, column, pipeline, vocoder, steps, guidance, sound)

    @property
    def inputs(self) -> set[Any]:
        """The controls."""
        return {self.pipeline, self.vocoder, self.steps, self.guidance}

    def asked(self, data: Mapping[Any, Any], content: Mapping[str, Any]) -> tuple[SynthesisRequest, str | None]:
        """Return the request and the vocoder.

        Raises:
            UserError: something in it cannot be used.
        """
        own = {"pipeline": data[self.pipeline], "steps": value_of("steps", data[self.steps])}
        own["guidance"] = value_of("guidance", data[self.guidance])
        return SynthesisRequest.checked({**content, **own}), None if data[self.vocoder] == OWN else data[self.vocoder]


def build(page: Page) -> None:
    """Put the tab on the page."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=340):
            text = gr.Textbox(
                EXAMPLE,
                label="Text",
                lines=2,
                max_lines=6,
                max_length=MAX_CHARACTERS,
                elem_classes="words",
                elem_id="compare-text",
            )
            with gr.Row():
                compare = gr.Button("Compare", variant="primary", elem_classes="begin", elem_id="compare", scale=3)
                stop = gr.Button("Stop", elem_classes="halt", interactive=False, min_width=80)
            status = gr.HTML(said("Choose how the ways differ, then press Compare.", kind="idle"), elem_classes="status")
        with gr.Column(scale=4, min_width=300):
            voice = VoiceChoice.build(compact=True)
            page.voice_lists.append(voice.name)
        with gr.Column(scale=3, min_width=220):
            count = gr.Slider(2, len(LETTERS), 2, step=1, label="Ways", info="How many to compare; all get the same seed")
            seed = gr.Textbox(
                label="Seed", info=about("seed"), placeholder="chosen at random", max_length=12, elem_id="compare-seed"
            )
            measured = gr.Checkbox(False, label="Opinion and similarity too", info="Needs the extra `eval`; slower")
    with gr.Row(equal_height=False):
        ways = [_Way.build(letter, place < 2) for place, letter in enumerate(LETTERS)]
    sheet = gr.HTML("", visible=False, elem_id="compare-sheet")
    sounds = gr.State(None, time_to_live=3600)
    AbxPanel(sounds, LETTERS).build()
    workshop = Workshop()

    def updates(data: dict[Any, Any], turn: Turn, folder: Path) -> Generator[Update, None, None]:
        yield {
            **{way.sound: gr.Audio(value=None, visible=False) for way in ways},
            sheet: gr.HTML("", visible=False),
            sounds: None,
        }
        given = value_of("seed", data[seed])
        chosen = secrets.randbelow(LARGEST_SEED) if given is None else given
        content = {**voice.content(data), "text": _short(data[text] or ""), "seed": chosen}
        asked = [(way, *way.asked(data, content)) for way in ways[: int(data[count])]]
        made: list[_Made] = []
        for way, wanted, vocoder in asked:
            job = page.queue.run(_Work(workshop, wanted, vocoder, bool(data[measured])))
            turn.begin(job)
            for told in page.follow(job, f"Speaking {way.letter}"):
                yield {status: told}
            made.append(_Made(way.letter, wanted, vocoder, *job.result()))
            path = saved(made[-1].result, folder, f"compare-{way.letter}-{chosen}")
            heard = {way.sound: gr.Audio(value=path, visible=True), sheet: gr.HTML(_sheet(made), visible=True)}
            yield {**heard, sounds: _kept(made)}
        warnings = [f"{one.letter}: {line}" for one in made for line in one.result.warnings]
        yield {status: said(f"Done, all with seed {chosen}.", kind="good", warnings=warnings)}

    count.change(_shown, count, [way.column for way in ways], show_progress="hidden", queue=False, api_visibility="private")
    inputs = {text, count, seed, measured, *voice.inputs}.union(*(way.inputs for way in ways))
    page.wire(TITLE, compare, stop, status, updates, inputs, [sheet, sounds, *(way.sound for way in ways)])


@dataclass(frozen=True)
class _Made:
    """A way with what came out of it."""

    letter: str
    request: SynthesisRequest
    vocoder: str | None
    result: SynthesisResult
    measured: Figures | None

    @property
    def way(self) -> str:
        """How it was made, in short."""
        parts = [self.request.pipeline, *([self.vocoder] if self.vocoder else [])]
        parts += [f"{name} {value:g}" for name in ("steps", "guidance") if (value := getattr(self.request, name)) is not None]
        return ", ".join(parts)


@dataclass(frozen=True)
class _Work:
    """One way to speak; called by the queue."""

    workshop: Workshop
    request: SynthesisRequest
    vocoder: str | None
    measured: bool

    def __call__(self, engine: Any, progress: Any) -> tuple[SynthesisResult, Figures | None]:
        """Speak, and measure if asked to."""
        result = self.workshop.speak(engine, self.request, self.vocoder, progress)
        return result, Judge()(result, self.request) if self.measured else None


def _shown(count: float) -> list[gr.Column]:
    return [gr.Column(visible=place < count) for place in range(len(LETTERS))]


def _short(text: str) -> str:
    if len(text) > MAX_CHARACTERS:
        raise UserError(f"the text has {len(text)} characters: give {MAX_CHARACTERS} at most to compare")
    return text


def _sheet(made: list[_Made]) -> str:
    """The figures as a table."""
    names = ["", "made by", "sound (s)", "work (s)", "real-time factor", "warnings"]
    rows = [
        [one.letter, one.way, f"{one.result.seconds:.2f}", f"{one.result.synthesis_seconds:.2f}", f"{one.result.rtf:.2f}",
         f"{len(one.result.warnings) or 'none'}"]
        for one in made
    ]  # fmt: skip
    if any(one.measured for one in made):
        names += ["opinion (1–5)", "similarity"]
        for row, one in zip(rows, made, strict=True):
            figures = one.measured or Figures(None, None)
            row += ["–" if value is None else f"{value:.2f}" for value in (figures.opinion, figures.similarity)]
    return table(names, rows)


def _kept(made: list[_Made]) -> Sounds | None:
    """The sounds for the blind test."""
    if len(made) < 2:
        return None
    sounds = {
        one.letter: (one.way, (one.result.rate, (one.result.samples.clamp(-1, 1) * 32767).round().short().numpy()))
        for one in made
    }
    return Sounds(made[0].request.text, sounds)
