"""Dialogue: a script of turns, each speaker in a voice."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import gradio as gr

from speechgen.service import UserError, catalog
from speechgen.service.dialogue import GAP_SECONDS, MAX_GAP_SECONDS, Dialogue, read_script, speak_dialogue, speakers_of

from ..components import MAX_CHARACTERS, Outcome, Settings, table, voice_names
from ..results import delivered
from ..work import Page, Turn, Update
from .speak import missing

__all__ = ["PLACE", "TITLE", "build", "missing"]

TITLE, PLACE = "Dialogue", 20
MOST_SPEAKERS = 6
EXAMPLE = """# A line begins with its speaker and a colon.
Anna: Did you hear the rain last night?
Ben: I did. It kept me awake until three.
Anna: Then you shall have the strong coffee."""


def build(page: Page) -> None:
    """Put the tab on the page."""
    with gr.Row(equal_height=False, elem_classes="work"):
        with gr.Column(scale=5, min_width=340, elem_classes="asked"):
            script = gr.Textbox(
                EXAMPLE,
                label="Script",
                info="A new line is a new turn; lines that begin with # are not read",
                lines=7,
                max_lines=20,
                max_length=MAX_CHARACTERS,
                elem_classes="words",
                elem_id="script",
            )
            with gr.Row():
                speak = gr.Button(
                    "Speak the dialogue", variant="primary", elem_classes="begin", elem_id="speak-dialogue", scale=3
                )
                stop = gr.Button("Stop", elem_classes="halt", interactive=False, min_width=80)
            with gr.Group():
                voices = [gr.Dropdown(**wanted) for wanted in _asked(EXAMPLE)]
            page.voice_lists.extend(voices)
            gap = gr.Slider(
                0, MAX_GAP_SECONDS, GAP_SECONDS, step=0.05, label="Gap", info="Seconds of silence between two turns"
            )
            settings = Settings.build()
        with gr.Column(scale=6, min_width=340, elem_classes="shown"):
            outcome = Outcome.build("Write a script and choose a voice for each speaker.")
            turns = gr.HTML("", visible=False)

    def updates(data: dict[Any, Any], turn: Turn, folder: Path) -> Generator[Update, None, None]:
        yield {**outcome.cleared(), turns: gr.HTML("", visible=False)}
        names = [str(data[voice] or "") for voice in voices]
        work = _Work(data[script] or "", names, settings.content(data), float(data[gap] or 0))
        job = page.queue.run(work)
        turn.begin(job)
        for told in page.follow(job, f"Speaking {len(work.turns)} turns"):
            yield {outcome.status: told}
        spoken = job.result()
        made = delivered(spoken.result, outcome, folder, "wav", "Done.")
        seed = settings.drawn(data, spoken.result.seed)
        yield {**next(made), turns: gr.HTML(_turns(spoken), visible=True), **seed}
        yield from made

    def ask(content: str) -> dict[Any, Any]:
        return {voice: gr.Dropdown(**wanted) for voice, wanted in zip(voices, _asked(content), strict=True)}

    script.change(ask, script, voices, show_progress="hidden", trigger_mode="always_last", api_visibility="private")
    inputs = {script, gap, *voices, *settings.inputs}
    page.wire(TITLE, speak, stop, outcome.status, updates, inputs, [*outcome.parts, turns, settings.seed])


def _asked(content: str) -> list[dict[str, Any]]:
    """For each speaker of a script a list of voices; two speakers begin with two voices."""
    found, names = speakers_of(content or "")[:MOST_SPEAKERS], voice_names()
    shown = [
        {
            "choices": names,
            "value": names[place % len(names)] if names else None,
            "label": f"Voice of {speaker}",
            "visible": True,
        }
        for place, speaker in enumerate(found)
    ]
    return shown + [{"choices": names, "label": "Voice", "visible": False}] * (MOST_SPEAKERS - len(found))


class _Work:
    """A script, read and checked; called, it is spoken."""

    def __init__(self, content: str, voices: list[str], options: dict[str, Any], gap: float) -> None:
        """Read the script.

        Raises:
            UserError: it cannot be spoken.
        """
        if len(content) > MAX_CHARACTERS:
            raise UserError(f"the script has {len(content)} characters: give {MAX_CHARACTERS} at most")
        names = speakers_of(content)
        if len(names) > MOST_SPEAKERS:
            raise UserError(f"the script has {len(names)} speakers: at most {MOST_SPEAKERS} are possible here")
        self.speakers = {name: catalog.find_voice(voice).name for name, voice in zip(names, voices, strict=False)}
        self.turns = read_script(content, names)
        self._seed, self._gap = options.pop("seed"), gap
        self._options = options

    def __call__(self, engine: Any, progress: Any) -> Dialogue:
        """Speak it with an engine."""
        return speak_dialogue(
            engine, self.turns, self.speakers, options=self._options, gap=self._gap, seed=self._seed, progress=progress
        )


def _turns(spoken: Dialogue) -> str:
    rows = [[f"{turn.start:.2f} – {turn.end:.2f}", turn.speaker, turn.text] for turn in spoken.turns]
    return table(["seconds", "speaker", "turn"], rows)
