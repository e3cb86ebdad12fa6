"""`speechgen models [list|show|verify|import|pull]`: what is here, whether it is whole; and more of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speechgen.cli.console import note

if TYPE_CHECKING:
    from speechgen.service.imports import ImportedCheckpoint

__all__ = ["models"]

models = typer.Typer(
    help="List, show, verify, import and pull models, checkpoints, pipelines and voices.", invoke_without_command=True
)


@models.callback()
def _default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_all(as_json=False)


@models.command("list")
def list_all(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """List model folders, checkpoints, pipelines and example voices."""
    from speechgen.core import checkpoint, registry
    from speechgen.core.errors import UserError
    from speechgen.service import catalog
    from speechgen.service.imports import pullable

    found: dict[str, dict[str, Any]] = {"models": {**registry.names()}, "checkpoints": {}}
    for name, folder in catalog.checkpoints().items():
        try:
            found["checkpoints"][name] = checkpoint.read_info(folder).model
        except UserError as error:
            found["checkpoints"][name] = f"damaged: {error}"
    found["licences"] = {name: catalog.licence(folder) or "" for name, folder in catalog.checkpoints().items()}
    found["to pull"] = {
        name: f"{each.address}, {each.licence}" for name, each in pullable().items() if name not in found["checkpoints"]
    }
    found["pipelines"] = {name: str(path) for name, path in catalog.pipelines().items()}
    found["voices"] = {name: str(voice.path) for name, voice in catalog.voices().items()}
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    licences = found.pop("licences")
    found["checkpoints"] = {
        name: f"{about:18} {_marked(licences[name])}".rstrip() for name, about in found["checkpoints"].items()
    }
    for kind, entries in found.items():
        typer.echo(f"{kind}:")
        for name, about in entries.items():
            typer.echo(f"  {name:24} {about}")
        if not entries:
            typer.echo("  none")


@models.command()
def show(name: Annotated[str, typer.Argument(help="A model, checkpoint or pipeline.")]) -> None:
    """Show a model's paper and options, a checkpoint's card, or a pipeline's YAML."""
    from speechgen.core import registry
    from speechgen.core.errors import unknown
    from speechgen.service import catalog
    from speechgen.service.imports import pullable

    checkpoints, pipelines, roles, pulls = catalog.checkpoints(), catalog.pipelines(), registry.names(), pullable()
    if name in checkpoints:
        folder = checkpoints[name]
        for part in ("card.md", "config.json", "metrics.json"):
            if (folder / part).is_file():
                typer.echo(f"--- {folder / part}\n{(folder / part).read_text(encoding='utf-8').rstrip()}")
        if marked := _marked(catalog.licence(folder) or ""):
            typer.echo(f"--- licence of the weights: {marked}")
    elif name in pipelines:
        typer.echo(f"--- {pipelines[name]}\n{pipelines[name].read_text(encoding='utf-8').rstrip()}")
    elif name in roles:
        spec = registry.get(name)
        typer.echo(f"{roles[name]}/{name}: {' + '.join(spec.accepts)} -> {spec.produces}\n{spec.paper}")
        for title, config in (("config", spec.config), ("objective", spec.objective_config), ("options", spec.options)):
            typer.echo(f"{title}:")
            for key, field in config.model_fields.items():
                typer.echo(f"  {key} = {field.get_default(call_default_factory=True)!r}: {field.description or ''}")
    elif name in pulls:
        typer.echo(f"{name}: not here; `speechgen models pull {name}` fetches it from huggingface.co/{pulls[name].address}")
        typer.echo(f"licence of the weights: {pulls[name].licence}")
    else:
        raise unknown("model, checkpoint or pipeline", name, [*checkpoints, *pipelines, *roles, *pulls])


@models.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Checkpoints; all of them if none is named.")] = None,
) -> None:
    """Load checkpoints strictly, look for values that are not finite, and print size and fingerprint."""
    from speechgen.service import catalog
    from speechgen.service.doctor import verify_checkpoint

    failed = False
    for name in names or catalog.checkpoints():
        finding = verify_checkpoint(name)
        failed = failed or not finding.ok
        typer.echo(f"{'ok' if finding.ok else 'damaged':8} {name:24} {finding.text}")
    if failed:
        raise typer.Exit(1)


@models.command("import")
def import_(
    family: Annotated[str, typer.Argument(help="Who published the weights: a file of speechgen/published, such as wavegrad.")],
    source: Annotated[str, typer.Argument(help="File or folder as it was published, or an id of the Hugging Face hub.")],
    name: Annotated[str, typer.Option("--name", help="Name of the new checkpoint.")],
    codec: Annotated[str | None, typer.Option("--codec", help="Of magnet: what decodes its codes; a checkpoint.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change what was read: --set t5=FOLDER; repeatable.")
    ] = None,
) -> None:
    """Turn published weights into a checkpoint."""
    from speechgen.service.imports import import_published

    _tell(import_published(family, source, name, codec=codec, changes=changes or ()))


@models.command()
def pull(
    name: Annotated[str, typer.Argument(help="e2tts-base, f5tts-base, f5tts-v1-base or vocos-mel-24khz; see `models list`.")],
) -> None:
    """Fetch published weights, compare their hashes, and import them; without a network: what to copy where."""
    from speechgen.service import imports

    _tell(imports.pull(name))


def _tell(made: ImportedCheckpoint) -> None:
    for line in made.notes:
        note(line)
    typer.echo(f"{made.folder}: {made.parameters / 1e6:.1f} M parameters, licence and origin in its card.md")
    if made.pipeline is not None:
        typer.echo(f"{made.pipeline}: speechgen synth --pipeline {made.pipeline.stem} --ref VOICE.wav --ref-text … --text …")


def _marked(licence: str) -> str:
    """A licence, with what it forbids."""
    return f"{licence} (not for commercial use)" if "-NC" in licence else licence
