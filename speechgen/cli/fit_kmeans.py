"""`speechgen fit-kmeans`: the last step of a tokenizer, centroids on a hidden layer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["fit_kmeans"]


def fit_kmeans(
    source: Annotated[Path, typer.Argument(help="Checkpoint folder, or folder of transformers weights (wav2vec 2.0, HuBERT).")],
    data: Annotated[list[Path], typer.Option(help="Prepared folder with audio; repeat for several.")],
    out: Annotated[Path, typer.Option(help="Checkpoint folder to write.")],
    layer: Annotated[int, typer.Option(min=1, help="Hidden layer to cluster; 1 is after the first block.")],
    clusters: Annotated[int, typer.Option(min=2, help="Number of tokens.")] = 256,
    frames: Annotated[int, typer.Option(min=1, help="Hidden states to fit on.")] = 200_000,
    seed: Annotated[int, typer.Option(help="Seed of the draw and of k-means.")] = 0,
) -> None:
    """Fit the centroids of a tokenizer on a hidden layer of its encoder."""
    from rich.progress import Progress

    from speechgen.training.fit_kmeans import fit_kmeans as fit

    with Progress(transient=True) as bar:
        task = bar.add_task("hidden states")
        fitted = fit(
            source,
            data,
            out,
            layer=layer,
            clusters=clusters,
            frames=frames,
            seed=seed,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    typer.echo(
        f"{out}: {clusters} clusters of layer {layer} on {fitted.frames} frames, "
        f"{fitted.used} used, {fitted.unexplained:.3f} of the variance unexplained"
    )
