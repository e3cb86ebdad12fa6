"""`speechgen eval`: figures of a pipeline, of editing, of vocoders, of codecs, of sounds or of a tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from speechgen.cli.console import progress_bar, read_transcript, use_offline
from speechgen.core.errors import UserError

if TYPE_CHECKING:
    from speechgen.core.protocols import Progress
    from speechgen.service.codecs import CodecReport
    from speechgen.service.engine import Engine
    from speechgen.service.evaluate import PipelineReport, TokenizerReport
    from speechgen.service.evaluate_edit import EditReport
    from speechgen.service.evaluate_lengths import LengthReport
    from speechgen.service.evaluate_sounds import SoundReport
    from speechgen.service.evaluate_waveform import WaveformReport
    from speechgen.service.stages import StageReport
    from speechgen.service.vocoders import VocoderReport

    _Copies = VocoderReport | CodecReport | EditReport
    _Report = PipelineReport | TokenizerReport | StageReport | _Copies | WaveformReport | LengthReport | SoundReport

__all__ = ["evaluate"]

_Paths, _Texts = list[Path] | None, list[str] | None
_What = Literal["vocoders", "codec", "edit", "waveform", "lengths", "sounds"]


def evaluate(
    what: Annotated[_What | None, typer.Argument(help="vocoders, codec, edit, sounds: with --audio; waveform: --data.")] = None,
    pipeline: Annotated[str, typer.Option("--pipeline", help="Name, or path of a pipeline's YAML.")] = "default",
    sentences: Annotated[Path | None, typer.Option("--sentences", help="One sentence a line; default: 20 built in.")] = None,
    ref: Annotated[_Paths, typer.Option("--ref", help="Recording of a voice; repeatable. Default: the example voices.")] = None,
    ref_text: Annotated[_Texts, typer.Option("--ref-text", help="What each --ref says, or @FILE; repeatable.")] = None,
    changes: Annotated[_Texts, typer.Option("--set", help="Change a setting: --set acoustic.steps=6; repeatable.")] = None,
    vocoder: Annotated[
        _Texts, typer.Option("--vocoder", help="NAME, NAME:steps=25 or AUTOENCODER+NAME; repeatable. Default: all.")
    ] = None,
    codec: Annotated[_Texts, typer.Option("--codec", help="NAME or NAME:codebooks=4; repeatable. Default: all.")] = None,
    model: Annotated[_Texts, typer.Option("--model", help="A waveform model; repeatable. Default: all installed.")] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="Clips that each waveform model draws.")] = 100,
    audio: Annotated[Path | None, typer.Option("--audio", help="Folder of recordings; with metadata, for edit.")] = None,
    real: Annotated[_Paths, typer.Option("--real", help="Folder of labelled recordings, for sounds; repeatable.")] = None,
    tokenizer: Annotated[str | None, typer.Option("--tokenizer", help="Measure this tokenizer's tokens in --data.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Prepared corpus: its tokens; for waveform, with test/.")] = None,
    stages: Annotated[Path | None, typer.Option("--stages", help="Folder: what each stage loses of its voices.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Use only the first sentences or files; 0: all.")] = 0,
    opinions: Annotated[bool, typer.Option("--opinions/--no-opinions", help="Predict opinion scores (DNSMOS) too.")] = True,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the clips, report.md and report.json.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of every clip.")] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show no progress.")] = False,
) -> None:
    """Measure a pipeline (WER, similarity, opinion, speed), editing, vocoders or codecs (PESQ, MCD …), a tokenizer (purity)."""
    if what == "waveform":
        return _evaluate_waveforms(model or [], data, count, limit, seed, out, as_json, quiet)
    if what == "sounds" or real:
        return _evaluate_sounds(what, audio, real, out, as_json, quiet)
    copied = (None if what == "lengths" else what) or ("vocoders" if vocoder else "codec" if codec else None)
    _check(copied is not None, audio, tokenizer, data)
    _check_changes(changes, copied)
    _make_folder(out)
    use_offline()

    from speechgen.service import evaluate as measures
    from speechgen.service.engine import Engine
    from speechgen.service.stages import measure_stages

    report: _Report
    engine = Engine(device, changes or ())
    with progress_bar("measuring", quiet=quiet) as progress:
        if tokenizer is not None and data is not None:
            report = measures.measure_tokenizer(tokenizer, data)
        elif copied == "edit" and audio is not None:
            from speechgen.service.evaluate_edit import measure_editing

            report = measure_editing(engine, pipeline, audio, limit=limit, seed=seed, save_to=out, progress=progress)
        elif audio is not None:
            names = (vocoder if copied == "vocoders" else codec) or []
            report = _copies(engine, copied, names, audio, limit, seed, opinions, out, progress)
        elif what == "lengths":
            report = _lengths(engine, pipeline, sentences, limit, ref or [], seed, progress)
        elif stages is not None:
            report = measure_stages(engine, pipeline, stages, limit=limit, seed=seed, opinions=opinions, progress=progress)
        else:
            texts = measures.read_sentences(sentences)[: limit or None]
            report = _voices(engine, pipeline, texts, ref or [], ref_text or [], seed, opinions, out, progress)
    _deliver(report, out, as_json)


def _evaluate_waveforms(
    models: list[str], data: Path | None, count: int, limit: int, seed: int, out: Path | None, as_json: bool, quiet: bool
) -> None:
    if data is None:
        raise UserError("waveform models are measured on a corpus: give a prepared folder with train/ and test/ by --data")
    _make_folder(out)

    from speechgen.service.evaluate_waveform import measure_waveforms

    with progress_bar("measuring", quiet=quiet) as progress:
        report = measure_waveforms(models, data, count=count, limit=limit, seed=seed, save_to=out, progress=progress)
    _deliver(report, out, as_json)


def _evaluate_sounds(
    what: _What | None, audio: Path | None, real: _Paths, out: Path | None, as_json: bool, quiet: bool
) -> None:
    if what != "sounds" or audio is None or not real:
        raise UserError("sounds, --audio and --real belong together: speechgen eval sounds --audio CLIPS --real RECORDINGS")
    _make_folder(out)

    from speechgen.service.evaluate_sounds import measure_sounds

    with progress_bar("measuring", quiet=quiet) as progress:
        report = measure_sounds(audio, real, progress)
    _deliver(report, out, as_json)


def _copies(
    engine: Engine,
    what: str | None,
    names: list[str],
    audio: Path,
    limit: int,
    seed: int,
    opinions: bool,
    out: Path | None,
    progress: Progress | None,
) -> VocoderReport | CodecReport:
    """Copies of recordings through vocoders or codecs."""
    from speechgen.service.codecs import measure_codecs
    from speechgen.service.vocoders import measure_vocoders

    if what == "codec":
        return measure_codecs(engine, names, audio, limit=limit, opinions=opinions, save_to=out, progress=progress)
    return measure_vocoders(engine, names, audio, limit=limit, seed=seed, opinions=opinions, save_to=out, progress=progress)


def _voices(
    engine: Engine,
    pipeline: str,
    texts: list[str],
    ref: list[Path],
    ref_text: list[str],
    seed: int,
    opinions: bool,
    out: Path | None,
    progress: Progress,
) -> PipelineReport:
    from speechgen.service.evaluate import measure_pipeline

    said = [read_transcript(line) or "" for line in ref_text]
    return measure_pipeline(engine, pipeline, texts, ref, said, seed=seed, opinions=opinions, save_to=out, progress=progress)


def _lengths(
    engine: Engine, pipeline: str, sentences: Path | None, limit: int, ref: list[Path], seed: int, progress: Progress
) -> LengthReport:
    from speechgen.service.evaluate import read_sentences
    from speechgen.service.evaluate_lengths import measure_lengths

    return measure_lengths(engine, pipeline, read_sentences(sentences)[: limit or None], ref, seed=seed, progress=progress)


def _make_folder(out: Path | None) -> None:
    if out is not None:
        if not out.parent.is_dir():
            raise UserError(f"cannot write {out}: there is no folder {out.parent}; create it first")
        out.mkdir(exist_ok=True)


def _deliver(report: _Report, out: Path | None, as_json: bool) -> None:
    """Write both forms of a report into a folder, and print one."""
    from speechgen.core.checkpoint import write_text_atomically

    if out is not None:
        write_text_atomically(out / "report.json", report.to_json() + "\n")
        write_text_atomically(out / "report.md", report.table() + "\n")
    typer.echo(" ".join(report.to_json().split()) if as_json else report.table())


def _check(recordings: bool, audio: Path | None, tokenizer: str | None, data: Path | None) -> None:
    """Refuse options that do not belong together."""
    if recordings != (audio is not None):
        raise UserError(
            "vocoders, codec or edit and --audio belong together: speechgen eval vocoders --audio FOLDER [--vocoder NAME], "
            "speechgen eval codec --audio FOLDER [--codec NAME], speechgen eval edit --audio FOLDER"
        )
    if (tokenizer is None) != (data is None):
        raise UserError("--tokenizer and --data belong together: give both")
    if recordings and tokenizer is not None:
        raise UserError("recordings and --tokenizer are two measurements: ask for one at a time")


def _check_changes(changes: list[str] | None, copied: str | None) -> None:
    """Refuse changes of a pipeline's settings where there is no pipeline."""
    if changes and copied in ("vocoders", "codec"):
        raise UserError(
            "options of a vocoder or codec are written behind its name: --vocoder NAME:steps=25, --codec NAME:codebooks=4"
        )
