"""Music: a description to music or another sound; a list of them to a zip file."""

from __future__ import annotations

import zipfile
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from speechgen.service import UserError, music
from speechgen.service.batch import BatchReport, run_batch
from speechgen.service.jobs import Job, JobCancelled
from speechgen.service.lists import Row, RowsError
from speechgen.service.manifest import Manifest
from speechgen.service.music_rows import read_music_rows
from speechgen.service.requests import LONGEST_PROMPT, MusicRequest

from ..components import FORMATS, LARGEST_SEED, Outcome, said, sentence, table, value_of
from ..results import delivered
from ..work import Page, Turn, Update

__all__ = ["PLACE", "TITLE", "build", "missing"]

TITLE, PLACE = "Music", 28
LONGEST_SECONDS = 120
"""Longer pieces are for `speechgen music`."""
MOST_PIECES = 50
"""Of a list; longer ones are for `speechgen music --prompts`."""
EXAMPLES = [
    "a slow church-organ chorale in G minor, 72 bpm",
    "a fast pop song for violin and piano with drums",
    "a dog barking",
]


def missing() -> str:
    """Say what making music needs."""
    if music.models():
        return ""
    return (
        "No model that makes music is installed. Train one with a recipe in `recipes/text_to_codes`, or import published "
        "weights by `speechgen models import`; its codec is needed too."
    )


def build(page: Page) -> None:
    """Put the tab on the page."""
    with gr.Row(equal_height=False, elem_classes="work"):
        with gr.Column(scale=5, min_width=340, elem_classes="asked"):
            form = _Form.build()
        with gr.Column(scale=6, min_width=340, elem_classes="shown"):
            outcome = Outcome.build("Describe what is to be heard.")
            listed = gr.HTML("", visible=False, elem_id="music-rows")

    def one(data: dict[Any, Any], turn: Turn, folder: Path) -> Generator[Update, None, None]:
        yield {**outcome.cleared(), listed: gr.HTML("", visible=False)}
        job = page.queue.run(_Piece(MusicRequest.checked({**form.content(data), "prompt": data[form.prompt] or ""})))
        turn.begin(job)
        for told in page.follow(job, "Composing"):
            yield {outcome.status: told}
        result = job.result()
        made = delivered(result, outcome, folder, data[form.format], "Done.", name="music")
        yield {**next(made), **({form.seed: result.seed} if data[form.chance] else {})}
        yield from made

    def several(data: dict[Any, Any], turn: Turn, folder: Path) -> Generator[Update, None, None]:
        yield {**outcome.cleared(), listed: gr.HTML("", visible=False)}
        out = folder / "music"
        rows = _rows(data[form.list], out, form.content(data), data[form.format])
        job = page.queue.run(_Pieces(rows, out), timeout=page.queue.timeout * len(rows))
        turn.begin(job)
        for told in page.follow(job, f"Composing {len(rows)} pieces"):
            yield {outcome.status: told}
        archive = folder / "music.zip"
        told, cells = _kept(job, rows, out, archive)
        yield {
            outcome.status: told,
            outcome.file: gr.DownloadButton("Download music.zip", value=str(archive), visible=True),
            listed: gr.HTML(table(["file", "prompt", "what came of it"], cells), visible=True),
        }

    page.wire(TITLE, form.begin, form.stop, outcome.status, one, form.inputs, [*outcome.parts, listed, form.seed])
    page.wire(f"{TITLE}: list", form.begin_list, form.stop, outcome.status, several, form.inputs, [*outcome.parts, listed])


@dataclass(frozen=True)
class _Form:
    """What is asked."""

    prompt: gr.Textbox
    begin: gr.Button
    stop: gr.Button
    duration: gr.Slider
    format: gr.Radio
    list: gr.File
    begin_list: gr.Button
    seed: gr.Number
    chance: gr.Checkbox
    model: gr.Dropdown
    steps: gr.Textbox
    guidance: gr.Textbox
    temperature: gr.Textbox

    @classmethod
    def build(cls) -> _Form:
        """Put the controls where the page is being built."""
        prompt = gr.Textbox(
            EXAMPLES[0], label="Prompt", info=_about("prompt"), lines=2, max_lines=6, max_length=LONGEST_PROMPT,
            elem_id="prompt", elem_classes="words",
        )  # fmt: skip
        with gr.Row():
            begin = gr.Button("Compose", variant="primary", elem_classes="begin", elem_id="compose", scale=3)
            stop = gr.Button("Stop", elem_classes="halt", interactive=False, min_width=80)
        with gr.Row():
            duration = gr.Slider(1, LONGEST_SECONDS, 10, step=1, label="Duration", info=_about("duration"), min_width=200)
            format = gr.Radio(FORMATS, value="wav", label="File to download")
        gr.Examples([[example] for example in EXAMPLES], [prompt], label="Examples")
        with gr.Accordion("A list of prompts", open=False):
            given = gr.File(
                label="csv, tsv or jsonl: prompt, duration, seed, count, out", file_types=[".csv", ".tsv", ".jsonl"],
                type="filepath", height=120, elem_id="music-list",
            )  # fmt: skip
            begin_list = gr.Button("Compose the list", elem_id="compose-list")
        with gr.Accordion("Advanced", open=False, elem_classes="advanced"):
            with gr.Row():
                seed = gr.Number(0, label="Seed", info=_about("seed"), minimum=0, maximum=LARGEST_SEED, precision=0, step=1)
                chance = gr.Checkbox(True, label="New seed each time", info="Off: the seed beside is used again")
            known = music.models()
            model = gr.Dropdown(known, value=known[0] if known else None, label="Model", info=_about("model"))
            with gr.Row():
                steps, guidance, temperature = _optional("steps"), _optional("guidance"), _optional("temperature")
        return cls(
            prompt, begin, stop, duration, format, given, begin_list, seed, chance, model, steps, guidance, temperature
        )  # fmt: skip

    @property
    def inputs(self) -> set[Any]:
        """The controls that have a value."""
        return {value for name, value in vars(self).items() if name not in ("begin", "stop", "begin_list")}

    def content(self, data: Mapping[Any, Any]) -> dict[str, Any]:
        """Return fields of a request, all but the prompt.

        Raises:
            UserError: something is no number.
        """
        numbers = {name: value_of(name, data[getattr(self, name)]) for name in ("steps", "guidance", "temperature")}
        seed = None if data[self.chance] or data[self.seed] is None else int(data[self.seed])
        return {"duration": data[self.duration], "model": data[self.model], "seed": seed, **numbers}


def _about(name: str) -> str:
    text = MusicRequest.model_fields[name].description or ""
    return text[:1].upper() + text[1:]


def _optional(name: str) -> gr.Textbox:
    """A number that may be left to the model."""
    return gr.Textbox(label=name.capitalize(), info=_about(name), placeholder="automatic", max_length=12, min_width=130)


@dataclass(frozen=True)
class _Piece:
    """A piece; called by the queue."""

    request: MusicRequest

    def __call__(self, engine: Any, progress: Any) -> Any:
        return engine.compose(self.request, progress)


@dataclass(frozen=True)
class _Pieces:
    """The rows of a list; called by the queue."""

    rows: list[Row]
    out: Path

    def __call__(self, engine: Any, progress: Any) -> BatchReport:
        return run_batch(self.rows, self.out, loaded=engine, progress=progress)


def _rows(path: str | None, out: Path, defaults: dict[str, Any], format: str) -> list[Row]:
    """Read a list that was uploaded.

    Raises:
        UserError: there is none, it cannot be used, or it is too long; names lines, not the place of the upload.
    """
    if path is None:
        raise UserError("there is no list yet: upload a csv file with a column prompt")
    try:
        rows = read_music_rows(Path(path), out, defaults, format=format)
    except RowsError as error:
        raise UserError(f"the list has {len(error.faults)} faults: {'; '.join(error.faults[:5])}") from error
    except UserError as error:
        raise UserError(str(error).replace(path, "the list")) from error
    long = [row for row in rows if isinstance(row.request, MusicRequest) and row.request.duration > LONGEST_SECONDS]
    if len(rows) > MOST_PIECES or long:
        raise UserError(
            f"here a list may have {MOST_PIECES} pieces of {LONGEST_SECONDS} s at most: use `speechgen music --prompts`"
        )
    return rows


def _kept(job: Job[BatchReport], rows: list[Row], out: Path, archive: Path) -> tuple[str, list[list[str]]]:
    """Pack what is finished of a list, however its job ended; return what to say of that, and of each row.

    Raises:
        UserError: what ended the job, if nothing is finished.
    """
    ended: UserError | None = None
    try:
        job.result()
    except UserError as error:
        ended = error
    entries = {entry["path"]: entry for entry in Manifest(out).entries()}
    made = [path for path, entry in entries.items() if "sha256" in entry]
    if ended is not None and not made:
        raise ended
    _pack(out, made, archive)
    cells = [[row.path, row.request.prompt, _became(entries.get(row.path))] for row in rows]  # type: ignore[union-attr]
    if ended is not None:
        stopped = isinstance(ended, JobCancelled)
        told = f"{'Stopped:' if stopped else sentence(ended)} {len(made)} of {len(rows)} pieces were finished and are kept."
        return said(told, kind="good" if stopped else "bad"), cells
    failed = len(made) < len(rows)
    told = f"Done: {len(made)} of {len(rows)} pieces are made" + (", the others failed." if failed else ".")
    return said(told, kind="bad" if failed else "good"), cells


def _became(entry: Mapping[str, Any] | None) -> str:
    """What the manifest says of a row, for people."""
    if entry is None:
        return "not made"
    return str(entry["error"]) if "error" in entry else "; ".join(["made", *entry["warnings"]])


def _pack(folder: Path, names: list[str], archive: Path) -> None:
    """Put files of a folder, and their manifest, into a zip file; sound is not made smaller by it."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for name in sorted(names):
            packed.write(folder / name, name)
        packed.write(Manifest(folder).path, Manifest(folder).path.name)
