"""Voices: what is here, what each sounds like, new ones from a recording."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from speechgen.service import UserError, catalog
from speechgen.service import voices as store
from speechgen.service.catalog import Voice

from ..components import WAVEFORM, checked_recording, said, sentence, table, told_recording, voice_names
from ..work import Page, Turn, Update
from .speak import missing

__all__ = ["PLACE", "TITLE", "build", "missing"]

TITLE, PLACE = "Voices", 90
EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "voices.json"


def build(page: Page) -> None:
    """Put the tab on the page."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=6, min_width=340):
            sheet = gr.HTML(_sheet(), elem_id="voices-sheet")
            _Shelf.build(page, sheet)
        with gr.Column(scale=5, min_width=340):
            _build_adding(page, sheet)


def _build_adding(page: Page, sheet: gr.HTML) -> None:
    """The half that stores a new voice."""
    name = gr.Textbox(label="Name of the new voice", info="1 to 64 of A-Z a-z 0-9 _ -", max_length=64, elem_id="voice-name")
    source, transcript = told_recording("A recording of it: 1 to 30 seconds of one person, 4 to 10 are best")
    again = gr.Checkbox(False, label="Replace", info="A stored voice of this name may be overwritten")
    with gr.Row():
        add = gr.Button("Add the voice", variant="primary", elem_classes="begin", elem_id="add-voice", scale=3)
        stop = gr.Button("Stop", elem_classes="halt", interactive=False, min_width=80)
    status = gr.HTML(said("Only add voices of people who agree to it.", kind="idle"), elem_id="add-told")
    changed = page.voices_changed

    def updates(data: dict[Any, Any], turn: Turn, folder: Path) -> Generator[Update, None, None]:
        wanted, path = (data[name] or "").strip(), data[source]
        store.check_new(wanted, replace=data[again])
        if path is None:
            raise UserError("there is no recording yet: upload one, or use the microphone")
        job = page.queue.run(
            _Work(wanted, checked_recording(Path(path)), (data[transcript] or "").strip() or None, bool(data[again]))
        )
        turn.begin(job)
        for line in page.follow(job, f"Encoding {wanted}"):
            yield {status: line}
        info = job.result()
        note = said(f"{wanted} is stored: {info.seconds:.1f} s were encoded.", kind="good", warnings=info.warnings)
        yield {status: note, sheet: _sheet(), changed: data[changed] + 1}

    page.wire(TITLE, add, stop, status, updates, {name, source, transcript, again, changed}, [sheet, changed])


@dataclass(frozen=True)
class _Shelf:
    """The half that lets the voices be heard and removed."""

    sheet: gr.HTML
    changed: gr.State
    chosen: gr.Dropdown
    sound: gr.Audio
    remove: gr.Button
    sure: gr.Button
    keep: gr.Button
    told: gr.HTML

    @classmethod
    def build(cls, page: Page, sheet: gr.HTML) -> _Shelf:
        """Put the controls where the page is being built."""
        chosen = gr.Dropdown(voice_names(), value=None, label="Voice", info="Choose one to hear it", elem_id="chosen-voice")
        page.voice_lists.append(chosen)
        sound = gr.Audio(
            label="The recording", interactive=False, buttons=[], waveform_options=WAVEFORM, visible=False,
            elem_classes="finished-sound", elem_id="voice-sound",
        )  # fmt: skip
        with gr.Row():
            remove = gr.Button("Remove …", interactive=False, elem_id="remove-voice")
            sure = gr.Button("Remove it for good", variant="stop", visible=False, elem_id="remove-sure")
            keep = gr.Button("Keep it", visible=False)
        shelf = cls(sheet, page.voices_changed, chosen, sound, remove, sure, keep, gr.HTML("", elem_id="voices-told"))
        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        chosen.change(shelf.listen, chosen, [sound, remove, shelf.told, sure, keep], **quiet)
        remove.click(lambda: [gr.Button(visible=True)] * 2, None, [sure, keep], **quiet)
        keep.click(lambda: [gr.Button(visible=False)] * 2, None, [sure, keep], **quiet)
        outputs = [shelf.told, sheet, shelf.changed, remove, chosen, sound, sure, keep]
        sure.click(shelf.delete, [chosen, shelf.changed], outputs, **quiet)
        return shelf

    def _unasked(self) -> Update:
        return {self.sure: gr.Button(visible=False), self.keep: gr.Button(visible=False)}

    def listen(self, voice: str | None) -> Update:
        """Show the recording of a voice."""
        nothing = {self.sound: gr.Audio(value=None, visible=False), self.remove: gr.Button(interactive=False)}
        if not voice:
            return {**nothing, **self._unasked()}
        try:
            audio = store.read_source(None, voice).audio
            stored = catalog.find_voice(voice).stored
        except UserError as error:
            return {**nothing, self.told: said(sentence(error), kind="bad"), **self._unasked()}
        heard = (audio.rate, (audio.samples[0].clamp(-1, 1) * 32767).round().short().numpy())
        shown = {self.sound: gr.Audio(value=heard, visible=True), self.remove: gr.Button(interactive=stored)}
        return {**shown, self.told: "", **self._unasked()}

    def delete(self, voice: str, count: int) -> Update:
        """Remove a stored voice."""
        try:
            store.remove(voice)
        except UserError as error:
            return {self.told: said(sentence(error), kind="bad"), **self._unasked()}
        gone = {self.chosen: gr.Dropdown(choices=voice_names(), value=None), self.sound: gr.Audio(value=None, visible=False)}
        note = {self.told: said(f"{voice} is removed.", kind="good"), self.remove: gr.Button(interactive=False)}
        return {**gone, **note, self.sheet: _sheet(), self.changed: count + 1, **self._unasked()}


class _Work:
    """A voice to be stored; called by the queue."""

    def __init__(self, name: str, path: Path, transcript: str | None, replace: bool) -> None:
        self._name, self._path, self._transcript, self._replace = name, path, transcript, replace

    def __call__(self, engine: Any, progress: Any) -> store.VoiceInfo:
        """Store it for the default pipeline."""
        progress(0, 1)
        known = list(catalog.pipelines())
        pipeline = "default" if "default" in known else known[0]
        return store.add(engine, self._name, self._path, pipeline, transcript=self._transcript, replace=self._replace)


def _sheet() -> str:
    """All voices as a table."""
    says = json.loads(EXAMPLES.read_text(encoding="utf-8")) if EXAMPLES.is_file() else {}
    known = catalog.voices()
    rows = [[name, *_about(known[name], says.get(name, {}))] for name in voice_names()]
    return table(["voice", "kind", "seconds", "about"], rows)


def _about(voice: Voice, example: dict[str, str]) -> list[str]:
    """Kind, length and origin of a voice."""
    if voice.stored:
        try:
            info = store.read_stored(voice.path).info
        except UserError:
            return ["damaged", "–", "remove it and add it again"]
        return ["stored", f"{info.seconds:.1f}", f"from {info.source}"]
    import soundfile

    try:
        seconds = f"{soundfile.info(voice.path).duration:.1f}"
    except soundfile.LibsndfileError:
        return ["damaged", "–", "not readable audio"]
    here = example.get("file") == voice.path.name
    return ["example" if here else "recording", seconds, f"{example['speaker']}, {example['licence']}" if here else ""]
