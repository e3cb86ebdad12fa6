"""`speechgen eval`: figures of a pipeline, with one setting or many, of vocoders, of codecs, or of one kind of model alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from speechgen.cli.console import progress_bar, read_transcript, use_offline
from speechgen.cli.eval_models import MODELS, Given, Report, deliver, evaluate_models, make_folder
from speechgen.core.errors import UserError

if TYPE_CHECKING:
    from speechgen.core.protocols import Progress
    from speechgen.evaluation.grid import Measured
    from speechgen.service.codecs import CodecReport
    from speechgen.service.engine import Engine
    from speechgen.service.evaluate_grid import Measure
    from speechgen.service.vocoders import VocoderReport

__all__ = ["evaluate"]

_Paths, _Texts = list[Path] | None, list[str] | None
_What = Literal["vocoders", "codec", "edit", "waveform", "lengths", "drift", "sounds", "soundstorm", "magnet", "long"]


def evaluate(
    what: Annotated[
        _What | None, typer.Argument(help="vocoders, codec, edit, drift, sounds, long: with --audio; models: --data.")
    ] = None,
    pipeline: Annotated[str, typer.Option("--pipeline", help="Name, or path of a pipeline's YAML.")] = "default",
    sentences: Annotated[Path | None, typer.Option("--sentences", help="One sentence a line; default: 20 built in.")] = None,
    ref: Annotated[_Paths, typer.Option("--ref", help="Recording of a voice; repeatable. Default: the example voices.")] = None,
    ref_text: Annotated[_Texts, typer.Option("--ref-text", help="What each --ref says, or @FILE; repeatable.")] = None,
    changes: Annotated[_Texts, typer.Option("--set", help="Change a setting: --set acoustic.steps=6; repeatable.")] = None,
    vary: Annotated[
        _Texts, typer.Option("--vary", help="Measure with each: --vary acoustic.steps=4,8; repeatable, for all combinations.")
    ] = None,
    vocoder: Annotated[
        _Texts, typer.Option("--vocoder", help="NAME, NAME:steps=25 or AUTOENCODER+NAME; repeatable. Default: all.")
    ] = None,
    codec: Annotated[_Texts, typer.Option("--codec", help="NAME or NAME:codebooks=4; repeatable. Default: all.")] = None,
    model: Annotated[
        _Texts, typer.Option("--model", help="For models: NAME or NAME:steps=4; repeatable. Default: all.")
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="Clips that each waveform model draws.")] = 100,
    audio: Annotated[Path | None, typer.Option("--audio", help="Folder of recordings, edit: with metadata; or file.")] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="Length of what is spoken at once, for drift.")] = 48.0,
    real: Annotated[_Paths, typer.Option("--real", help="Labelled recordings, for sounds, magnet; repeatable.")] = None,
    tokenizer: Annotated[str | None, typer.Option("--tokenizer", help="Measure this tokenizer's tokens in --data.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Prepared corpus; for waveform, with test/.")] = None,
    stages: Annotated[Path | None, typer.Option("--stages", help="Folder: what each stage loses of its voices.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Use only the first sentences or files; 0: all.")] = 0,
    opinions: Annotated[bool, typer.Option("--opinions/--no-opinions", help="Predict opinion scores (DNSMOS) too.")] = True,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the clips, report.md and report.json.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of every clip.")] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show no progress.")] = False,
) -> None:
    """Measure a pipeline (WER, repeats, similarity, opinion, speed), editing, vocoders or codecs (PESQ, MCD …), a tokenizer."""
    if what in MODELS or real:
        given = Given(model or [], data, codec or [], ref or [], real or [], audio, count, limit, seed)
        return deliver(evaluate_models(what, given, out, quiet), out, as_json)
    copied = (None if what == "lengths" else what) or ("vocoders" if vocoder else "codec" if codec else None)
    _check(copied, audio, tokenizer, data, stages, changes, vary)
    make_folder(out)
    use_offline()

    from speechgen.service.engine import Engine
    from speechgen.service.evaluate import measure_tokenizer

    report: Report
    measure = _measure(what, pipeline, sentences, limit, ref or [], ref_text or [], audio, seconds, seed, opinions)
    with progress_bar("measuring", quiet=quiet) as progress:
        if vary:
            return _sweep(measure, pipeline, vary, device, changes or [], out, as_json, progress)
        engine = Engine(device, changes or ())
        if tokenizer is not None and data is not None:
            report = measure_tokenizer(tokenizer, data)
        elif audio is not None and copied in ("vocoders", "codec"):
            report = _copies(engine, copied, vocoder or codec or [], audio, limit, seed, opinions, out, progress)
        elif stages is not None:
            report = _stages(engine, pipeline, stages, limit, seed, opinions, progress)
        else:
            report = measure(engine, out, progress)
    deliver(report, out, as_json)


def _stages(
    engine: Engine, pipeline: str, folder: Path, limit: int, seed: int, opinions: bool, progress: Progress | None
) -> Report:
    """What each stage of a pipeline loses of its voices."""
    from speechgen.service.stages import measure_stages

    return measure_stages(engine, pipeline, folder, limit=limit, seed=seed, opinions=opinions, progress=progress)


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


def _measure(
    what: _What | None,
    pipeline: str,
    sentences: Path | None,
    limit: int,
    ref: list[Path],
    ref_text: list[str],
    audio: Path | None,
    seconds: float,
    seed: int,
    opinions: bool,
) -> Measure:
    """What is measured of a pipeline, whatever its settings: editing, lengths, drift, or its speech."""
    from speechgen.service.evaluate import measure_pipeline, read_sentences
    from speechgen.service.evaluate_drift import measure_drift
    from speechgen.service.evaluate_edit import measure_editing
    from speechgen.service.evaluate_lengths import measure_lengths

    def measure(engine: Engine, out: Path | None, progress: Progress) -> Measured:
        if what == "edit" and audio is not None:
            return measure_editing(engine, pipeline, audio, limit=limit, seed=seed, save_to=out, progress=progress)
        texts = read_sentences(sentences)[: limit or None]
        if what == "drift" and audio is not None:
            return measure_drift(engine, pipeline, audio, texts, ref, seconds=seconds, seed=seed, progress=progress)
        if what == "lengths":
            return measure_lengths(engine, pipeline, texts, ref, seed=seed, progress=progress)
        said = [read_transcript(line) or "" for line in ref_text]
        return measure_pipeline(
            engine, pipeline, texts, ref, said, seed=seed, opinions=opinions, save_to=out, progress=progress
        )

    return measure


def _sweep(
    measure: Measure,
    pipeline: str,
    vary: list[str],
    device: str,
    changes: list[str],
    out: Path | None,
    as_json: bool,
    progress: Progress,
) -> None:
    """Measure with all combinations of settings; the reports in the folder grow with each."""
    from speechgen.service.evaluate_grid import measure_grid

    reports = measure_grid(measure, pipeline, vary, device=device, changes=changes, save_to=out, progress=progress)
    for report in reports:
        _write(report, out)
    deliver(report, None, as_json)


def _write(report: Report, out: Path | None) -> None:
    from speechgen.core.checkpoint import write_text_atomically

    if out is not None:
        write_text_atomically(out / "report.json", report.to_json() + "\n")
        write_text_atomically(out / "report.md", report.table() + "\n")


def _check(
    copied: str | None,
    audio: Path | None,
    tokenizer: str | None,
    data: Path | None,
    stages: Path | None,
    changes: list[str] | None,
    vary: list[str] | None,
) -> None:
    """Refuse options that do not belong together."""
    if (copied is not None) != (audio is not None):
        raise UserError(
            "vocoders, codec, edit or drift and --audio belong together: speechgen eval vocoders --audio FOLDER "
            "[--vocoder NAME], speechgen eval codec --audio FOLDER [--codec NAME], speechgen eval edit --audio FOLDER"
        )
    if (tokenizer is None) != (data is None):
        raise UserError("--tokenizer and --data belong together: give both")
    if copied is not None and tokenizer is not None:
        raise UserError("recordings and --tokenizer are two measurements: ask for one at a time")
    if (changes or vary) and copied in ("vocoders", "codec"):
        raise UserError(
            "options of a vocoder or codec are written behind its name: --vocoder NAME:steps=25, --codec NAME:codebooks=4"
        )
    if vary and (tokenizer or stages):
        raise UserError("--vary measures speech, edit, lengths or drift of a pipeline: leave --tokenizer and --stages out")
