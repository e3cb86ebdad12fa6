"""Edit: a recording says other words in some places; everything else in it stays as it is."""

from __future__ import annotations

import html
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from speechgen.service import UserError
from speechgen.service.edit import EditRequest, EditResult, read_transcript

from ..components import LARGEST_SEED, Outcome, checked_recording, figures, recording, said, value_of
from ..results import drawing
from ..work import Page, Turn, Update
from .speak import missing

__all__ = ["PLACE", "TITLE", "build", "missing"]

TITLE, PLACE = "Edit", 25
LONGEST_SECONDS = 120.0
"""Longer recordings are for `speechgen edit`."""
MAX_CHARACTERS = 2000
BY_TEXT, BY_TIME = "its text", "a span of time"


def build(page: Page) -> None:
    """Put the tab on the page."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=340):
            form = _Form.build()
        with gr.Column(scale=6, min_width=340):
            outcome = Outcome.build("Upload a recording, write down what it says, and change a word.")
            words = gr.HTML("", visible=False, elem_id="edit-words")

    def found(data: dict[Any, Any], turn: Turn, folder: Path) -> Generator[Update, None, None]:
        job = page.queue.run(_Listening(form.path(data), data[form.old] or ""))
        turn.begin(job)
        for told in page.follow(job, "Finding the words"):
            yield {outcome.status: told}
        placed = job.result()
        wanted = {} if (data[form.new] or "").strip() else {form.new: data[form.old]}
        note = said("These are the words and the seconds at which they are spoken. Now change the text.", kind="good")
        chips = _chips((word.text, word.start, word.stop, False) for word in placed.words)
        yield {outcome.status: note, words: gr.HTML(chips, visible=True), **wanted}

    def edited(data: dict[Any, Any], turn: Turn, folder: Path) -> Generator[Update, None, None]:
        yield {**outcome.cleared(), words: gr.HTML("", visible=False)}
        job = page.queue.run(_Work(EditRequest.checked(form.content(data))))
        turn.begin(job)
        for told in page.follow(job, "Editing"):
            yield {outcome.status: told}
        result = job.result()
        changed = {(place.new_start, place.new_stop) for place in result.regions}
        chips = _chips((w.label, w.start, w.stop, (w.start, w.stop) in changed) for w in result.new_words)
        seed = {form.seed: result.seed} if data[form.chance] else {}
        shown = _shown(result, outcome, folder)
        yield {**next(shown), words: gr.HTML(chips, visible=bool(chips)), **seed}
        yield from shown

    page.wire(f"{TITLE}: words", form.find, form.stop, outcome.status, found, form.inputs, [words, form.new])
    page.wire(TITLE, form.begin, form.stop, outcome.status, edited, form.inputs, [*outcome.parts, words, form.seed])


@dataclass(frozen=True)
class _Form:
    """What is asked."""

    audio: gr.Audio
    old: gr.Textbox
    find: gr.Button
    how: gr.Radio
    new: gr.Textbox
    start: gr.Textbox
    end: gr.Textbox
    text: gr.Textbox
    begin: gr.Button
    stop: gr.Button
    seed: gr.Number
    chance: gr.Checkbox
    candidates: gr.Slider
    speed: gr.Slider

    @classmethod
    def build(cls) -> _Form:
        """Put the controls where the page is being built."""
        audio = recording(f"The recording: 1 to {LONGEST_SECONDS:g} seconds of one person")
        old = _text("What it says", "every word of it, as it is spoken", "edit-old")
        find = gr.Button("Find the words", elem_id="edit-find")
        how = gr.Radio([BY_TEXT, BY_TIME], value=BY_TEXT, label="Change", elem_id="edit-how")
        new = _text("What it is to say", "the same with other words; only those are made anew", "edit-new")
        with gr.Row(visible=False) as times:
            start = gr.Textbox(label="From", info="Seconds", max_length=12, min_width=90, elem_id="edit-start")
            end = gr.Textbox(label="To", info="Seconds", max_length=12, min_width=90, elem_id="edit-end")
            text = gr.Textbox(label="New words", info="Nothing: it is cut out", scale=3, max_length=400, elem_id="edit-text")
        with gr.Row():
            begin = gr.Button("Edit", variant="primary", elem_classes="begin", elem_id="edit", scale=3)
            stop = gr.Button("Stop", elem_classes="halt", interactive=False, min_width=80)
        with gr.Accordion("Advanced", open=False, elem_classes="advanced"):
            with gr.Row():
                seed = gr.Number(0, label="Seed", info=_about("seed"), minimum=0, maximum=LARGEST_SEED, precision=0, step=1)
                chance = gr.Checkbox(True, label="New seed each time", info="Off: the seed beside is used again")
            with gr.Row():
                candidates = gr.Slider(1, 16, 4, step=1, label="Candidates", info=_about("candidates"), min_width=200)
                speed = gr.Slider(0.5, 2, 1, step=0.05, label="Speed", info=_about("speed"), min_width=200)

        def chosen(by: str) -> list[Any]:
            return [gr.Textbox(visible=by == BY_TEXT), gr.Row(visible=by == BY_TIME)]

        how.change(chosen, how, [new, times], show_progress="hidden", api_visibility="private")
        return cls(audio, old, find, how, new, start, end, text, begin, stop, seed, chance, candidates, speed)

    @property
    def inputs(self) -> set[Any]:
        """The controls that have a value."""
        return {value for name, value in vars(self).items() if name not in ("find", "begin", "stop")}

    def path(self, data: dict[Any, Any]) -> Path:
        """The recording.

        Raises:
            UserError: there is none, or it cannot be used.
        """
        if data[self.audio] is None:
            raise UserError("there is no recording yet: upload one, or use the microphone")
        return checked_recording(Path(data[self.audio]), LONGEST_SECONDS)

    def content(self, data: dict[Any, Any]) -> dict[str, Any]:
        """Return fields of a request.

        Raises:
            UserError: something in it cannot be used.
        """
        old = (data[self.old] or "").strip()
        content = {"audio": self.path(data), "old_text": old or None, "speed": data[self.speed]}
        content["seed"] = None if data[self.chance] or data[self.seed] is None else int(data[self.seed])
        content["candidates"] = int(data[self.candidates])
        if data[self.how] == BY_TEXT:
            return content | {"new_text": data[self.new] or ""}
        start, stop = value_of("from", data[self.start]), value_of("to", data[self.end])
        if start is None or stop is None:
            raise UserError("the span is not complete: give the seconds at which it begins and ends")
        return content | {"start": start, "stop": stop, "text": data[self.text] or ""}


def _text(label: str, placeholder: str, name: str) -> gr.Textbox:
    return gr.Textbox(
        label=label,
        placeholder=placeholder,
        lines=2,
        max_lines=8,
        max_length=MAX_CHARACTERS,
        elem_classes="words",
        elem_id=name,
    )


def _about(name: str) -> str:
    text = EditRequest.model_fields[name].description or ""
    return text[:1].upper() + text[1:]


@dataclass(frozen=True)
class _Listening:
    """A recording whose words are to be found; called by the queue."""

    audio: Path
    text: str

    def __call__(self, engine: Any, progress: Any) -> Any:
        if not self.text.strip():
            raise UserError("nobody has written yet what the recording says: write it down, every word")
        progress(0, 1)
        return read_transcript(engine, self.audio, self.text)


@dataclass(frozen=True)
class _Work:
    """An edit; called by the queue."""

    request: EditRequest

    def __call__(self, engine: Any, progress: Any) -> EditResult:
        return engine.edit(self.request, progress)


def _chips(words: Iterable[tuple[str, float, float, bool]]) -> str:
    """Words and their seconds side by side; new ones stand out."""
    items = [
        f"<li{' class=new' if new else ''}>{html.escape(text)}<small>{start:.2f}–{stop:.2f}</small></li>"
        for text, start, stop, new in words
    ]
    return f'<ol class="spoken-words">{"".join(items)}</ol>' if items else ""


def _shown(result: EditResult, outcome: Outcome, folder: Path) -> Iterator[Update]:
    """Yield the updates that show a result: what is heard first, then the picture."""
    file = str(result.save(folder / f"edited-{result.seed}.wav"))
    places = [f"{place.new_start:.2f}–{place.new_stop:.2f} s" for place in result.regions]
    told = {
        "Seed": str(result.seed),
        "Sound": f"{result.seconds:.2f} s",
        "Changed": ", ".join(places),
        "Rate": f"{result.rate} Hz",
        "Work": f"{result.work_seconds:.2f} s",
    }
    sentence = f"Done: {', '.join(places)} {'is' if len(places) == 1 else 'are'} new, all else is the recording itself."
    yield {
        outcome.status: said(sentence, kind="good", warnings=result.warnings),
        outcome.sound: gr.Audio(value=file, visible=True),
        outcome.file: gr.DownloadButton(f"Download {Path(file).name}", value=file, visible=True),
        outcome.figures: gr.HTML(figures(told), visible=True),
    }
    with drawing:
        picture = str(result.plot(folder / "edit.png"))
    yield {outcome.picture: gr.Image(value=picture, visible=True)}
