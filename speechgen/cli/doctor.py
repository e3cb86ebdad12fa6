"""`speechgen doctor`: is everything here that speaking needs?"""

from __future__ import annotations

import json
from typing import Annotated

import typer

__all__ = ["doctor"]


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Look over this installation, a line for each part; exit code 1 if `synth` cannot work."""
    from speechgen.service.doctor import examine

    findings = examine()
    if as_json:
        found = {finding.part: {"ok": finding.ok, "text": finding.text} for finding in findings}
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        for finding in findings:
            state = "ok" if finding.ok else "MISSING" if finding.needed else "without"
            typer.echo(f"{state:8} {finding.part:20} {finding.text}")
    if any(finding.needed and not finding.ok for finding in findings):
        raise typer.Exit(1)
