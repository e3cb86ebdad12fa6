"""`speechgen train`: a recipe and prepared folders to a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["train"]


def train(
    recipe: Annotated[Path, typer.Argument(help="YAML file, such as recipes/vocoders/vocos_speech.yaml.")],
    data: Annotated[list[Path], typer.Option(help="Prepared folder to learn from; repeat for several.")],
    out: Annotated[Path, typer.Option(help="Run folder: checkpoint/, last/, state/, metrics.jsonl, tensorboard/.")],
    valid: Annotated[list[Path] | None, typer.Option(help="Prepared folder to measure on; repeat for several.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Change the recipe, repeatable: trainer.steps=10")] = None,
    init: Annotated[Path | None, typer.Option(help="Checkpoint folder to take matching weights from.")] = None,
    resume: Annotated[str | None, typer.Option(help="auto: continue the run in --out if there is one.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:<index>.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of each process.")] = None,
) -> None:
    """Train the model of a recipe. Ctrl-C saves and stops; `--resume auto` continues exactly."""
    import torch

    from speechgen.core.errors import UserError
    from speechgen.training.recipe import load_recipe
    from speechgen.training.run import train as run

    if resume not in (None, "auto"):
        raise UserError(f"cannot resume {resume!r}: the only choice is --resume auto")
    if threads:
        torch.set_num_threads(threads)
    result = run(
        load_recipe(recipe, settings or []),
        data_folders=data,
        validation_folders=valid or [],
        out=out,
        device=device,
        init=init,
        resume="auto" if resume else None,
    )
    if result.fit.interrupted:
        raise typer.Exit(130)
