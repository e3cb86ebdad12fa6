"""The blind test on the page: which of two sounds is X?"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from speechgen.service import UserError

from .abx import AbxTest, answers_file, store
from .components import said, sentence

__all__ = ["AbxPanel", "Sounds"]

BLIND = gr.WaveformOptions(show_recording_waveform=False)
"""Waveforms would tell the sounds apart at a glance."""


@dataclass(frozen=True)
class Sounds:
    """What was made of one text, by the letter under which it stands: how, and (rate, samples)."""

    text: str
    made: dict[str, tuple[str, tuple[int, Any]]]


@dataclass(frozen=True)
class AbxPanel:
    """The controls; `sounds` is filled by whoever makes them."""

    sounds: gr.State
    letters: list[str]

    def build(self) -> None:
        """Put the controls where the page is being built."""
        test = gr.State(None, time_to_live=3600)
        with gr.Accordion("Blind test (ABX)", open=False):
            gr.Markdown(
                "X is one of the two, chosen at random each time. Listen as often as you like, then say which it is; "
                "after the last answer you see how likely a guesser does as well.",
                elem_classes="note",
            )
            with gr.Row():
                first = gr.Dropdown(self.letters, value=self.letters[0], label="The one")
                second = gr.Dropdown(self.letters, value=self.letters[1], label="The other")
                start = gr.Button("Begin the test", elem_id="abx-begin")
            told = gr.HTML(said("Compare first, then begin the test.", kind="idle"), elem_id="abx-told")
            with gr.Row(visible=False) as listening:
                players = [
                    gr.Audio(label=name, interactive=False, buttons=[], waveform_options=BLIND, elem_classes="blind")
                    for name in ("The one", "The other", "X")
                ]
            with gr.Row(visible=False) as answering:
                is_first = gr.Button("X is the one", elem_id="abx-one")
                is_second = gr.Button("X is the other", elem_id="abx-other")
            file = gr.DownloadButton("Download all answers (CSV)", visible=answers_file().is_file(), elem_id="abx-file")

        shown = {"told": told, "listening": listening, "answering": answering, "file": file, "x": players[2]}

        def begin(sounds: Sounds | None, one: str, other: str) -> dict[Any, Any]:
            try:
                begun = _begun(sounds, one, other)
            except UserError as error:
                return {told: said(sentence(error), kind="bad"), test: None}
            assert sounds is not None
            heard = {players[0]: sounds.made[one][1], players[1]: sounds.made[other][1]}
            return {**heard, **_next(begun, sounds, one, other, shown), test: begun}

        def answer(which: str) -> Any:
            def note(running: AbxTest | None, sounds: Sounds | None, one: str, other: str) -> dict[Any, Any]:
                if running is None or sounds is None or running.over:
                    return {told: said("Begin a test first.", kind="bad")}
                running.answers.append(which)
                try:
                    return {**_next(running, sounds, one, other, shown), test: running}
                except UserError as error:
                    return {told: said(sentence(error), kind="bad"), test: None}

            return note

        outputs = [told, test, *players, listening, answering, file]
        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        start.click(begin, [self.sounds, first, second], outputs, **quiet)
        for button, which in ((is_first, "A"), (is_second, "B")):
            button.click(answer(which), [test, self.sounds, first, second], outputs, **quiet)


def _begun(sounds: Sounds | None, one: str, other: str) -> AbxTest:
    """Return a new test.

    Raises:
        UserError: there is nothing to compare.
    """
    if sounds is None:
        raise UserError("there is nothing to listen to yet: press Compare first")
    absent = [letter for letter in (one, other) if letter not in sounds.made]
    if absent or one == other:
        raise UserError(f"choose two different ones of {', '.join(sounds.made)}")
    return AbxTest(sounds.text, (sounds.made[one][0], sounds.made[other][0]))


def _next(test: AbxTest, sounds: Sounds, one: str, other: str, shown: dict[str, Any]) -> dict[Any, Any]:
    """Updates for the next trial, or for the end of the test.

    Raises:
        UserError: the answers cannot be stored.
    """
    if test.over:
        path = store(test)
        return {
            shown["told"]: said(test.verdict(), kind="good"),
            shown["answering"]: gr.Row(visible=False),
            shown["file"]: gr.DownloadButton(value=_copy(path.read_bytes()), visible=True),
        }
    return {
        shown["told"]: said(
            f"Listening {len(test.answers) + 1} of {len(test.hidden)}.", share=len(test.answers) / len(test.hidden)
        ),
        shown["x"]: sounds.made[one if test.x == "A" else other][1],
        shown["listening"]: gr.Row(visible=True),
        shown["answering"]: gr.Row(visible=True),
    }


def _copy(content: bytes) -> str:
    """A copy where the page may take it from: the collection itself lies in the user's own folder."""
    folder = Path(tempfile.mkdtemp(dir=os.environ["GRADIO_TEMP_DIR"]))
    path = folder / "abx.csv"
    path.write_bytes(content)
    return str(path)
