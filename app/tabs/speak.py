"""Speak: a text in a voice, heard while the rest is made."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from speechgen.service import UserError, catalog
from speechgen.service.jobs import JobCancelled
from speechgen.service.requests import SynthesisRequest
from speechgen.service.results import join_chunks

from ..components import FORMATS, MAX_CHARACTERS, Outcome, Settings, VoiceChoice, said
from ..results import delivered
from ..work import Page, Sounding, Turn, Update

__all__ = ["PLACE", "TITLE", "build", "missing"]

TITLE, PLACE = "Speak", 10
EXAMPLES = [
    "The kitchen window looks out on a quiet garden.",
    "On 3 May 2021 we paid $12.50 for two tickets and waited until a quarter past six.",
    "Wait [pause:0.8] did you hear that? It came from behind the old [[təˈmeɪtoʊ]] house.",
    "Rain had fallen all night, and the river stood high. By morning the bridge was gone; nobody in the village "
    "was surprised, for it had been repaired with little more than hope.",
]


def missing() -> str:
    """Say what speaking needs."""
    if catalog.pipelines():
        return ""
    return "No pipeline is installed: `speechgen doctor` says what is missing."


def build(page: Page) -> None:
    """Put the tab on the page."""
    with gr.Row(equal_height=False, elem_classes="work"):
        with gr.Column(scale=5, min_width=340, elem_classes="asked"):
            text = gr.Textbox(
                EXAMPLES[0],
                label="Text",
                lines=5,
                max_lines=14,
                max_length=MAX_CHARACTERS,
                placeholder=f"What to say, up to {MAX_CHARACTERS} characters",
                elem_id="text",
                elem_classes="words",
            )
            with gr.Row():
                speak = gr.Button("Speak", variant="primary", elem_id="speak", elem_classes="begin", scale=2)
                stop = gr.Button(
                    "Stop", variant="secondary", elem_id="stop", elem_classes="halt", interactive=False, min_width=80
                )
                file = gr.UploadButton("Open text", file_types=[".txt", ".md"], min_width=130)
            voice = VoiceChoice.build()
            page.voice_lists.append(voice.name)
            settings = Settings.build()
            with gr.Row():
                early = gr.Checkbox(
                    True, label="Play while it is made",
                    info="Off: whole sentences, checked and made again if faulty; the same sound as the command's",
                )  # fmt: skip
                format = gr.Radio(FORMATS, value="wav", label="File to download")
            gr.Examples([[example] for example in EXAMPLES], [text], label="Examples")
        with gr.Column(scale=6, min_width=340, elem_classes="shown"):
            outcome = Outcome.build("Press Speak, or Ctrl+Enter in the text.")

    def updates(data: dict[Any, Any], turn: Turn, folder: Path) -> Generator[Update, None, None]:
        yield outcome.cleared()
        content = {**settings.content(data), **voice.content(data), "text": data[text] or ""}
        asked, format_asked = checked(content), data[format]
        for update in spoken(page, asked, turn, data[early], outcome, folder, format_asked):
            seed = update.pop(SEED, None)
            yield update if seed is None else {**update, **settings.drawn(data, seed)}

    inputs = {text, early, format, *voice.inputs, *settings.inputs}
    page.wire(TITLE, speak, stop, outcome.status, updates, inputs, [*outcome.parts, settings.seed])
    file.upload(opened, file, [text, outcome.status], show_progress="hidden", api_visibility="private")


SEED = "seed"
"""Under this key `spoken` tells which seed was used."""


def checked(content: dict[str, Any]) -> SynthesisRequest:
    """Return the request.

    Raises:
        UserError: something in it cannot be used.
    """
    if len(content["text"]) > MAX_CHARACTERS:
        raise UserError(
            f"the text has {len(content['text'])} characters: give {MAX_CHARACTERS} at most, or use `speechgen synth --file`"
        )
    return SynthesisRequest.checked(content)


def spoken(
    page: Page, asked: SynthesisRequest, turn: Turn, early: bool, outcome: Outcome, folder: Path, format: str
) -> Iterator[Update]:
    """Speak, and yield updates of the outcome on the way.

    Raises:
        UserError: something that was given cannot be used, or the visitor has stopped it before there was sound.
    """
    job = page.queue.stream(asked, spans=early)
    turn.begin(job)
    began, sounding = time.perf_counter(), Sounding(page.sounds, job)
    try:
        for told in page.follow(job, "Speaking", sounding.token, sounding):
            yield {outcome.status: told}
    finally:
        job.cancel()  # if the visitor has left
        chunks = sounding.close()
    sentence_told = "Done."
    try:
        result = job.result()
        assert result is not None
    except JobCancelled:
        if not sounding.seconds:
            raise
        request = job.request or asked
        voice = str(request.ref or request.voice)
        result = join_chunks(
            chunks,
            pipeline=request.pipeline,
            voice=voice,
            seed=request.seed or 0,
            device="",
            seconds=(0.0, time.perf_counter() - began),
        )
        sentence_told = f"Stopped: the {result.seconds:.1f} s that were finished are kept."
    halt = sounding.token if sentence_told != "Done." else ""
    updates = delivered(result, outcome, folder, format, sentence_told, halt=halt, first_seconds=sounding.first_seconds)
    yield {**next(updates), SEED: result.seed}
    yield from updates


def opened(path: str) -> dict[Any, Any] | tuple[Any, str]:
    """Read a text file into the text; returns text and status."""
    try:
        with open(path, "rb") as file:
            content = file.read(4 * MAX_CHARACTERS + 4).decode("utf-8-sig")
    except UnicodeDecodeError:
        return gr.skip(), said("The file is not UTF-8 text: save it as UTF-8.", kind="bad")
    if len(content) > MAX_CHARACTERS:
        return gr.skip(), said(f"The file has more than {MAX_CHARACTERS} characters: use `speechgen synth --file`.", kind="bad")
    return content, said("Press Speak, or Ctrl+Enter in the text.", kind="idle")
