"""`speechgen fit-schedule`: the last step of a diffusion vocoder, a short noise schedule for its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["fit_schedule"]


def fit_schedule(
    source: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="Checkpoint folder of a diffusion vocoder; it keeps the betas.")
    ],
    valid: Annotated[list[Path], typer.Option(help="Prepared folder with audio to copy; repeat for several.")],
    steps: Annotated[int, typer.Option(min=1, max=100, help="Steps of the schedule.")] = 6,
    clips: Annotated[int, typer.Option(min=1, help="Recordings that each candidate copies.")] = 6,
    seconds: Annotated[float, typer.Option(min=0.1, help="How much of each recording.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of the choice and of the noise.")] = 0,
) -> None:
    """Fit a noise schedule by the log-mel error of copies, one beta at a time."""
    from rich.progress import Progress

    from speechgen.training.fit_schedule import fit_schedule as fit

    with Progress(transient=True) as bar:
        task = bar.add_task("schedules")
        fitted = fit(
            source,
            valid,
            steps=steps,
            clips=clips,
            seconds=seconds,
            seed=seed,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    betas = ", ".join(f"{beta:.3g}" for beta in fitted.betas)
    typer.echo(f"{source}: log-mel error {fitted.before:.4f} -> {fitted.after:.4f} with betas {betas} ({fitted.tried} tried)")
