"""Parts that tabs share: fields of a request as controls, the voice, what a job says, and what came out."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from speechgen.service import UserError, catalog
from speechgen.service.requests import SynthesisRequest

__all__ = [
    "FORMATS",
    "LARGEST_SEED",
    "MAX_CHARACTERS",
    "WAVEFORM",
    "Outcome",
    "Settings",
    "VoiceChoice",
    "about",
    "checked_recording",
    "figures",
    "optional",
    "said",
    "sentence",
    "table",
    "told_recording",
    "value_of",
    "voice_list",
    "voice_names",
]

MAX_CHARACTERS = 4096
"""Of one text; longer ones are for `speechgen synth --file`."""
LARGEST_SEED = 2**31 - 1
"""Browsers keep no larger whole numbers than 2**53; seeds that are chosen here stay below this."""
WAVEFORM = gr.WaveformOptions(waveform_color="#8fa3a3", waveform_progress_color="#1f8f88")
FORMATS = ("wav", "flac", "ogg", "mp3")
TOP, BOTTOM = ("ge", "gt"), ("le", "lt")


def about(name: str) -> str:
    """Description of a field of SynthesisRequest, as a sentence."""
    text = SynthesisRequest.model_fields[name].description or ""
    return text[:1].upper() + text[1:]


def bound(name: str, kinds: Sequence[str]) -> float | None:
    """A limit of a field of SynthesisRequest."""
    limits = [
        getattr(entry, kind) for entry in SynthesisRequest.model_fields[name].metadata for kind in kinds if hasattr(entry, kind)
    ]
    return limits[0] if limits else None


def optional(name: str) -> gr.Textbox:
    """A number that may be left out: what the pipeline says. A text box, for Gradio's number box turns nothing into 0."""
    return gr.Textbox(label=name.capitalize(), info=about(name), placeholder="automatic", max_length=12, min_width=130)


def value_of(name: str, given: str | None) -> float | int | None:
    """Read a number that may be left out.

    Raises:
        UserError: it is none.
    """
    text = (given or "").strip().replace(",", ".")
    try:
        value = float(text) if text else None
    except ValueError:
        raise UserError(f"{name} is {given!r}: give a number, or nothing for what the pipeline does by itself") from None
    return int(value) if value is not None and value.is_integer() else value


def slider(name: str, value: float, step: float) -> gr.Slider:
    """A field with a value that changes nothing."""
    return gr.Slider(
        bound(name, TOP), bound(name, BOTTOM), value, step=step, label=name.capitalize(), info=about(name), min_width=200
    )


def voice_names() -> list[str]:
    """Every voice, the default one first."""
    names = list(catalog.voices())
    first = catalog.default_voice().name if names else ""
    return sorted(names, key=lambda name: (name != first, name))


def voice_list(label: str = "Voice", elem_id: str | None = None) -> gr.Dropdown:
    """A list of the voices, read again whenever the page is opened."""
    names = voice_names()
    return gr.Dropdown(names, value=names[0] if names else None, label=label, info=about("voice"), elem_id=elem_id)


def recording(title: str) -> gr.Audio:
    """A recording, uploaded or spoken into the microphone; handed on as it is, for Gradio converts only where ffmpeg is."""
    return gr.Audio(
        sources=["upload", "microphone"],
        type="filepath",
        label=title,
        elem_classes="recording",
        editable=False,
        buttons=[],
        waveform_options=WAVEFORM,
    )


def told_recording(title: str) -> tuple[gr.Audio, gr.Textbox]:
    """A recording, and what it says: asked for when there is one."""
    audio = recording(title)
    transcript = gr.Textbox(
        label="Transcript",
        info=f"{about('ref_text')}; heard where it is left out",
        max_length=1000,
        visible=False,
        elem_classes="transcript",
    )
    audio.change(
        lambda path: gr.Textbox(visible=path is not None), audio, transcript, show_progress="hidden", api_visibility="private"
    )
    return audio, transcript


@dataclass(frozen=True)
class VoiceChoice:
    """A voice by name, or a recording that goes before it."""

    name: gr.Dropdown
    recording: gr.Audio
    transcript: gr.Textbox

    @classmethod
    def build(cls, compact: bool = False) -> VoiceChoice:
        """Put the controls where the page is being built; `compact` folds the recording away."""
        name = voice_list(elem_id=None if compact else "voice")
        if not compact:
            return cls(name, *told_recording("Or your own recording: 1 to 30 seconds of one person"))
        with gr.Accordion("Or your own recording", open=False):
            return cls(name, *told_recording("1 to 30 seconds of one person"))

    @property
    def inputs(self) -> set[Any]:
        """The controls."""
        return {self.name, self.recording, self.transcript}

    def content(self, data: Mapping[Any, Any]) -> dict[str, Any]:
        """Return fields of a request.

        Raises:
            UserError: the recording cannot be used.
        """
        path = data[self.recording]
        if path is None:
            return {"voice": data[self.name]}
        return {"ref": checked_recording(Path(path)), "ref_text": (data[self.transcript] or "").strip() or None}


def checked_recording(path: Path, longest: float = 30.0) -> Path:
    """Return the path of an upload that is audio of 1 to `longest` seconds; nothing is decoded.

    Raises:
        UserError: it is not.
    """
    import soundfile

    try:
        seconds = soundfile.info(path).duration
    except soundfile.LibsndfileError as error:
        raise UserError("the recording is not readable audio: give wav, flac, ogg, opus or mp3") from error
    if not 1.0 <= seconds <= longest + 0.05:
        raise UserError(f"the recording lasts {seconds:.1f} s: give 1 to {longest:g} s of one person")
    return path


@dataclass(frozen=True)
class Settings:
    """Everything else that can be asked of a pipeline."""

    pipeline: gr.Dropdown
    language: gr.Textbox
    speed: gr.Slider
    pitch: gr.Slider
    steps: gr.Textbox
    guidance: gr.Textbox
    temperature: gr.Textbox
    candidates: gr.Slider
    seed: gr.Number
    chance: gr.Checkbox

    @classmethod
    def build(cls) -> Settings:
        """Put the controls where the page is being built, in an accordion."""
        known = list(catalog.pipelines())
        with gr.Accordion("Advanced", open=False, elem_classes="advanced"):
            with gr.Row():
                seed = gr.Number(0, label="Seed", info=about("seed"), minimum=0, maximum=LARGEST_SEED, step=1, precision=0,
                                 elem_id="seed")  # fmt: skip
                chance = gr.Checkbox(
                    True, label="New seed each time", info="Off: the seed beside is used again", elem_id="chance"
                )
            with gr.Row():
                speed, pitch = slider("speed", 1.0, 0.05), slider("pitch", 0.0, 0.5)
            with gr.Row():
                steps, guidance, temperature = optional("steps"), optional("guidance"), optional("temperature")
            with gr.Row():
                pipeline = gr.Dropdown(
                    known,
                    value="default" if "default" in known else next(iter(known), None),
                    label="Pipeline",
                    info=about("pipeline"),
                )
                language = gr.Textbox(
                    SynthesisRequest.model_fields["language"].default, label="Language", info=about("language")
                )
            candidates = slider("candidates", 1, 1)
        return cls(pipeline, language, speed, pitch, steps, guidance, temperature, candidates, seed, chance)

    @property
    def inputs(self) -> set[Any]:
        """The controls."""
        return set(vars(self).values())

    def content(self, data: Mapping[Any, Any]) -> dict[str, Any]:
        """Return fields of a request; what is left alone is left to the pipeline.

        Raises:
            UserError: something is no number.
        """
        plain = {name: data[control] for name, control in vars(self).items() if name != "chance"}
        plain["speed"] = None if plain["speed"] == 1 else plain["speed"]
        plain["pitch"] = plain["pitch"] or None
        plain["seed"] = None if data[self.chance] or plain["seed"] is None else int(plain["seed"])
        plain |= {name: value_of(name, plain[name]) for name in ("steps", "guidance", "temperature")}
        return plain | {"candidates": int(plain["candidates"])}

    def drawn(self, data: dict[Any, Any], seed: int) -> dict[Any, Any]:
        """Show the seed that was drawn; one that was typed is the visitor's, who may have typed another since."""
        return {self.seed: seed} if data[self.chance] else {}


@dataclass(frozen=True)
class Outcome:
    """Where a job tells how it is going, and what came out of it."""

    status: gr.HTML
    sound: gr.Audio
    file: gr.DownloadButton
    figures: gr.HTML
    picture: gr.Image

    @classmethod
    def build(cls, idle: str) -> Outcome:
        """Put the parts where the page is being built."""
        with gr.Column(elem_classes="outcome"):
            status = gr.HTML(said(idle, kind="idle"), elem_classes="status")
            gr.HTML(LIVE_PLAYER)
            sound = gr.Audio(
                label="Finished sound",
                interactive=False,
                type="filepath",
                elem_classes="finished-sound",
                buttons=[],
                waveform_options=WAVEFORM,
                visible=False,
            )
            file = gr.DownloadButton("Download", visible=False, elem_classes="download")
            shown = gr.HTML("", elem_classes="figures", visible=False)
            picture = gr.Image(
                label="Words, waveform, mel spectrogram, phones and tokens",
                interactive=False,
                type="filepath",
                format="png",
                elem_classes="picture",
                show_label=False,
                buttons=["fullscreen", "download"],
                visible=False,
                alt_text="The words over the waveform, the mel spectrogram, phones and tokens",
            )
        return cls(status, sound, file, shown, picture)

    @property
    def parts(self) -> list[Any]:
        """The parts, for outputs."""
        return list(vars(self).values())

    def cleared(self) -> dict[Any, Any]:
        """Updates that take away what came out before."""
        hidden = [self.sound, self.file, self.figures, self.picture]
        return {part: type(part)(value=None, visible=False) for part in hidden}


LIVE_PLAYER = (
    '<div class="live-player" hidden role="group" aria-label="Sound while it is made"><button type="button">Pause</button>'
    '<div class="live-bar"><span></span></div><span class="live-time"></span></div>'
)


def said(
    text: str,
    *,
    kind: str = "",
    share: float | None = None,
    live: str = "",
    halt: str = "",
    warnings: Sequence[str] = (),
) -> str:
    """What a job says, as HTML.

    Args:
        text: one sentence.
        kind: "", "idle", "bad" or "good".
        share: how much is done, 0 to 1.
        live: token of sound to play while it is made.
        halt: token of sound not to play further.
        warnings: what the user should know.
    """
    attributes = f' data-live="{html.escape(live)}"' if live else ""
    attributes += f' data-halt="{html.escape(halt)}"' if halt else ""
    role = "alert" if kind == "bad" else "status"
    bar = "" if share is None else f'<div class="bar"><span style="width: {100 * min(1.0, share):.1f}%"></span></div>'
    lines = "".join(f"<li>{html.escape(_on_page(line))}</li>" for line in dict.fromkeys(warnings))
    listed = f"<ul>{lines}</ul>" if lines else ""
    return f'<div class="job {kind}" role="{role}"{attributes}>{html.escape(text)}{bar}{listed}</div>'


def sentence(error: Exception, *recordings: str) -> str:
    """One plain sentence for an error; paths of uploads are not told."""
    if not isinstance(error, UserError):
        return f"Something went wrong that should not ({type(error).__name__}): the log of the program has the details."
    text = _on_page(" ".join(str(error).split()))
    for path in recordings:
        text = text.replace(path, "the recording")
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"


def _on_page(message: str) -> str:
    """Options of the command have the same names on the page, without dashes."""
    return re.sub(r"(?<!\S)--([a-z][a-z-]+)", r"\1", message)


def figures(values: Mapping[str, str]) -> str:
    """Names and values side by side, as HTML."""
    cells = (f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>" for name, value in values.items())
    return f'<dl class="figures-grid">{"".join(cells)}</dl>'


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows below names, as HTML."""
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in names)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="sheet"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
