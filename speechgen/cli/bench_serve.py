"""`speechgen bench serve`: many clients on a server, and what they saw."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from speechgen.core.errors import UserError

if TYPE_CHECKING:
    from speechgen.server.load import LoadReport

__all__ = ["bench_serve"]

LOG_CHARACTERS = 8000
"""Of the end of the server's log, shown where an answer was wrong."""


def bench_serve(
    clients: Annotated[int, typer.Option("--clients", min=1, max=200, help="Clients that ask at once.")] = 8,
    minutes: Annotated[float, typer.Option("--minutes", min=0.01, max=600, help="How long they ask.")] = 5.0,
    requests: Annotated[int | None, typer.Option("--requests", min=1, help="Stop after so many answers.")] = None,
    pipeline: Annotated[str, typer.Option("--pipeline", help="What speaks.")] = "default",
    only: Annotated[str | None, typer.Option("--only", help="One kind of request, such as 'stream pcm'.")] = None,
    url: Annotated[str | None, typer.Option("--url", help="A server that runs; otherwise one is started, and ended.")] = None,
    api_key: Annotated[str | None, typer.Option("--api-key", envvar="SPEECHGEN_API_KEY", help="Its key.")] = None,
    device: Annotated[str, typer.Option("--device", help="Of the server that is started.")] = "auto",
    most_growth: Annotated[float, typer.Option("--most-growth", help="Of its memory, behind the warm-up.")] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Ask a server many things at once. Exit code 1: an answer was wrong, or its memory grew."""
    from speechgen.server.asking import KINDS, Load
    from speechgen.server.load import measure, own_server

    if only is not None and only not in KINDS:
        raise UserError(f"unknown kind {only!r}: allowed: {', '.join(KINDS)}")
    load = Load(url or "", clients, 60 * minutes, requests, model=pipeline, api_key=api_key, only=only)
    if url is not None:
        report = measure(load)
    else:
        with own_server(["--pipeline", pipeline, "--device", device]) as (address, log):
            report = measure(replace(load, address=address, api_key=None))
            if report.faults:
                typer.echo(log.read_text()[-LOG_CHARACTERS:], err=True)
    if as_json:
        typer.echo(report.to_json())
    else:
        _print(report, most_growth)
    return 0 if report.passed and report.memory_growth <= most_growth else 1


def _print(report: LoadReport, most_growth: float) -> None:
    if report.calm is not None:
        typer.echo(f"alone, a sentence begins after {1000 * report.calm.first_byte:.0f} ms; "
                   f"two at once take {report.calm.two_at_once:.2f} times as long as one after the other")  # fmt: skip
    heads = ("", "answers", "first byte p50", "p95", "whole p50", "p95")
    typer.echo(f"{heads[0]:12}{heads[1]:>8}{heads[2]:>16}{heads[3]:>9}{heads[4]:>12}{heads[5]:>9}")
    for kind, seen in report.kinds.items():
        times = [f"{1000 * seen[key]:.0f} ms" for key in ("first_byte_p50", "first_byte_p95", "whole_p50", "whole_p95")]
        typer.echo(f"{kind:12}{seen['count']:8.0f}{times[0]:>16}{times[1]:>9}{times[2]:>12}{times[3]:>9}")
    statuses = ", ".join(f"{count} × {status}" for status, count in report.statuses.items())
    typer.echo(f"{report.requests} requests of {report.clients} clients in {report.seconds:g} s: {statuses}")
    typer.echo(f"memory {report.memory_mb:.0f} MB, {report.memory_growth:+.1%} behind the warm-up (allowed {most_growth:+.1%})")
    for fault in report.faults:
        typer.echo(f"wrong: {fault}")
