"""`speechgen`: registers the verbs and turns errors into one line and an exit code.

Exit codes: 0 done · 1 something is missing or a check failed · 2 what was given cannot be used · 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from speechgen.cli.app import page
from speechgen.cli.batch import batch
from speechgen.cli.bench import bench
from speechgen.cli.dialogue import dialogue
from speechgen.cli.doctor import doctor
from speechgen.cli.edit import edit
from speechgen.cli.eval import evaluate
from speechgen.cli.fit_kmeans import fit_kmeans
from speechgen.cli.fit_schedule import fit_schedule
from speechgen.cli.models import models
from speechgen.cli.music import music
from speechgen.cli.prepare import prepare
from speechgen.cli.sample import sample
from speechgen.cli.serve import serve
from speechgen.cli.synth import synth
from speechgen.cli.train import train
from speechgen.cli.vocode import vocode
from speechgen.cli.voices import voices
from speechgen.core.errors import UserError
from speechgen.core.threads import share_cores

__all__ = ["app", "main", "run"]

INTERRUPTED = 130

app = typer.Typer(
    name="speechgen",
    help="Speech from text in the voice of a short recording; and the training of the models behind it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    # --ref_audio is --ref-audio.
    context_settings={"token_normalize_func": lambda name: name.replace("_", "-"), "help_option_names": ["-h", "--help"]},
)
app.command()(synth)
app.command()(batch)
app.command()(dialogue)
app.command()(edit)
app.command()(music)
app.command()(vocode)
app.command()(sample)
app.command()(serve)
app.command()(prepare)
app.command()(train)
app.command("fit-kmeans")(fit_kmeans)
app.command("fit-schedule")(fit_schedule)
app.command("eval")(evaluate)
app.command("app")(page)
app.add_typer(bench, name="bench")
app.add_typer(models, name="models")
app.add_typer(voices, name="voices")
app.command()(doctor)


def _print_version(asked: bool) -> None:
    if asked:
        import speechgen

        typer.echo(f"speechgen {speechgen.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Speech from text in the voice of a short recording; and the training of the models behind it."""


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; errors become one line on stderr."""
    try:
        code = app(args=list(arguments), prog_name="speechgen", standalone_mode=False)
    except UserError as error:
        return _fail(" ".join(str(error).split()), 2)
    except typer.TyperException as error:
        command = getattr(getattr(error, "ctx", None), "command_path", "speechgen")
        message = " ".join(error.format_message().split())
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(error.format_message(), err=True)
            return 2
        return _fail(f"{message.rstrip('.')} (see {command} --help)", 2)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except OSError as error:
        if error.errno is None:
            raise
        where = f": {error.filename}" if error.filename else ""
        return _fail(f"{error.strerror}{where}", 2)
    if code == INTERRUPTED:
        return _fail("interrupted", INTERRUPTED)
    return int(code or 0)


def _fail(message: str, code: int) -> int:
    typer.echo(f"speechgen: {message}", err=True)
    return code


def main() -> None:
    """Entry point of the `speechgen` command."""
    share_cores()
    sys.exit(run(sys.argv[1:]))
