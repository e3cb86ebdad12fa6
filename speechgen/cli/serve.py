"""`speechgen serve`: speech over HTTP, as OpenAI's clients ask for it."""

from __future__ import annotations

import importlib.util
from typing import Annotated

import typer

from speechgen.cli.console import note, use_offline
from speechgen.core.errors import UserError

__all__ = ["serve"]


def serve(
    host: Annotated[str, typer.Option("--host", help="Address to listen on; another than this machine's needs a key.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 chooses a free one.")] = 8000,
    pipeline: Annotated[str, typer.Option("--pipeline", help="What speaks when a request names no model.")] = "default",
    api_key: Annotated[
        str | None,
        typer.Option("--api-key", "--auth", envvar="SPEECHGEN_API_KEY", help="Key that clients show; better in the variable."),
    ] = None,
    app: Annotated[bool, typer.Option("--app", help="Also serve the page, at /app.")] = False,
    warm_up: Annotated[bool, typer.Option("--warm-up", help="Load and speak once before the first request is taken.")] = False,
    queue: Annotated[int, typer.Option("--queue", min=1, max=1000, help="Requests that may wait; more get 429.")] = 16,
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="Seconds for a request, waiting included.")] = 600.0,
    grace: Annotated[float, typer.Option("--grace", min=0, help="Seconds that running requests have at the end.")] = 30.0,
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="Name that the server may be asked by, besides localhost.")
    ] = None,
    cors: Annotated[
        list[str] | None, typer.Option("--cors", help="Origin of a web page that may ask it, such as https://example.org.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
) -> None:
    """Answer POST /v1/audio/speech and its neighbours; OpenAI's clients work with it. Stop it by Ctrl-C."""
    for library in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
        if importlib.util.find_spec(library) is None:
            raise UserError(f'the server needs {library}: pip install "speechgen[server]"')
    use_offline()

    from speechgen.core.config import validate
    from speechgen.server.run import serve as run
    from speechgen.server.settings import ServerSettings

    content = {"host": host, "port": port, "pipeline": pipeline, "api_key": api_key or None, "page": app, "warm_up": warm_up}
    content |= {"waiting": queue, "timeout": timeout, "grace": grace, "device": device}
    content |= {"hosts": tuple(allow_host or ()), "origins": tuple(cors or ())}
    run(validate(ServerSettings, content, "serve"), lambda address: note(f"speechgen: serving {address} (Ctrl-C ends it)"))
