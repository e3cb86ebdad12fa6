"""`speechgen app`: the web page, on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from speechgen.cli.console import use_offline

__all__ = ["page"]


def page(
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; others than this machine's need serve --app.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 chooses a free one.")] = 7860,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    browser: Annotated[bool, typer.Option("--browser", help="Open the page in the browser.")] = False,
) -> None:
    """Serve the web page to this machine: speak, dialogue, compare, voices. Stop it by Ctrl-C."""
    from speechgen.core.errors import UserError

    if host not in ("127.0.0.1", "localhost", "::1"):
        raise UserError(f"the page answers this machine alone, not {host}: for others use `speechgen serve --app` with a key")
    use_offline()

    from speechgen.service.page import load_page

    def ready(address: str) -> None:
        typer.echo(f"speechgen: the page is at {address} (Ctrl-C ends it)")
        if browser:
            import webbrowser

            webbrowser.open(address)

    load_page().serve(host, port, device, ready)
