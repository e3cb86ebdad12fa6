"""Waveforms: sound sample by sample, from nothing or continuing a recording."""

from __future__ import annotations

import secrets
from collections.abc import Generator
from pathlib import Path
from typing import Any

import gradio as gr

from speechgen.service import UserError, catalog
from speechgen.service.waveforms import Clips, SampleRequest, draw_clips

from ..components import LARGEST_SEED, WAVEFORM, checked_recording, figures, recording, said, value_of
from ..work import Page, Turn, Update

__all__ = ["PLACE", "TITLE", "build", "missing"]

TITLE, PLACE = "Waveforms", 35
MOST_CLIPS, MOST_SECONDS = 8, 10.0


def missing() -> str:
    """What to do where there is no waveform model."""
    if catalog.of_role("waveform"):
        return ""
    return "No waveform model is here yet: `recipes/waveform/` has recipes, put what they make into `checkpoints/`."


def build(page: Page) -> None:
    """Put the tab on the page."""
    models = catalog.of_role("waveform")
    with gr.Row(equal_height=False, elem_classes="work"):
        with gr.Column(scale=5, min_width=340, elem_classes="asked"):
            model = gr.Dropdown(models, value=models[0], label="Model", info="What it was trained on is what it makes")
            with gr.Row():
                draw = gr.Button("Draw", variant="primary", elem_classes="begin", elem_id="draw", scale=3)
                stop = gr.Button("Stop", elem_classes="halt", interactive=False, min_width=80)
            with gr.Group():
                count = gr.Slider(1, MOST_CLIPS, 4, step=1, label="Clips")
                seconds = gr.Slider(0.1, MOST_SECONDS, 1.0, step=0.1, label="Seconds", info="Of each clip")
                temperature = gr.Slider(
                    0, 2, 1.0, step=0.05, label="Temperature", info="Below 1: likelier, 0: always the likeliest"
                )
                top_p = gr.Slider(0.5, 1, 1.0, step=0.01, label="Top-p", info="Share of the probability that is drawn from")
                oversample = gr.Slider(
                    1, 4, 1, step=0.1, label="Oversample", info="Draw more clips, leave out the unlikely ones"
                )
                seed = gr.Textbox(label="Seed", info="Same seed, same sound", placeholder="chosen at random", max_length=12)
            prime = recording("Continue a recording (optional)")
        with gr.Column(scale=6, min_width=340, elem_classes="shown"):
            status = gr.HTML(said("Choose a model, then press Draw.", kind="idle"), elem_classes="status")
            sheet = gr.HTML("", visible=False)
            sounds = [
                gr.Audio(
                    label=f"Clip {number + 1}", interactive=False, visible=False, buttons=["download"],
                    waveform_options=WAVEFORM, elem_classes="finished-sound",
                )
                for number in range(MOST_CLIPS)
            ]  # fmt: skip

    def updates(data: dict[Any, Any], turn: Turn, folder: Path) -> Generator[Update, None, None]:
        yield {**{sound: gr.Audio(value=None, visible=False) for sound in sounds}, sheet: gr.HTML("", visible=False)}
        given = value_of("seed", data[seed])
        if given is not None and not 0 <= given <= LARGEST_SEED:
            raise UserError(f"seed is {given}: give a whole number from 0 to {LARGEST_SEED}, or nothing")
        request = SampleRequest(
            model=data[model],
            count=int(data[count]),
            seconds=float(data[seconds]),
            prime=checked_recording(Path(data[prime])) if data[prime] else None,
            changes=tuple(
                f"{control.label.lower().replace('-', '_')}={data[control]}"
                for control in options
                if data[control] != control.value
            ),
            seed=secrets.randbelow(LARGEST_SEED) if given is None else int(given),
        )
        job = page.queue.run(_Work(request, folder))
        turn.begin(job)
        for told in page.follow(job, "Drawing"):
            yield {status: told}
        clips = job.result()
        heard = {sound: gr.Audio(value=str(path), visible=True) for sound, path in zip(sounds, clips.paths, strict=False)}
        yield {**heard, sheet: gr.HTML(figures(_figures(clips)), visible=True),
               status: said("Done.", kind="good", warnings=clips.notes)}  # fmt: skip

    options = (temperature, top_p, oversample)
    inputs = {model, count, seconds, prime, seed, *options}
    page.wire(TITLE, draw, stop, status, updates, inputs, [sheet, *sounds])


class _Work:
    """Clips to draw into a folder; called by the queue."""

    def __init__(self, request: SampleRequest, folder: Path) -> None:
        self._request, self._folder = request, folder

    def __call__(self, engine: Any, progress: Any) -> Clips:
        """Draw them; the engine is not needed."""
        return draw_clips(self._request, self._folder / "clips", progress)


def _figures(clips: Clips) -> dict[str, str]:
    return {
        "Seed": str(clips.seed),
        "Sound": f"{clips.seconds:.2f} s at {clips.rate} Hz",
        "Work": f"{clips.work_seconds:.2f} s",
        "Real-time factor": f"{clips.rtf:.2f}",
    }
