"""The page: `speechgen app`, or `python app/main.py`.

build   the page as gradio.Blocks
mount   the page on a FastAPI server: with its look, the sound on its way (live.py) and its guard (guard.py)
serve   a server of its own that answers this machine alone

Nothing is loaded before the first visitor asks for it. The tabs are the files of tabs/.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # `python app/main.py`: the folder above is put on the path, and this is a file of the package app
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __package__ = "app"

if TYPE_CHECKING:
    import fastapi
    import gradio

    from speechgen.service.jobs import JobQueue

    from .work import Page

__all__ = ["build", "mount", "serve"]

HOST, PORT = "127.0.0.1", 7860
LOCAL_NAMES = ["127.0.0.1", "localhost", "[::1]"]


def build(queue: JobQueue | None = None) -> gradio.Blocks:
    """Build the page.

    Args:
        queue: where the work goes; without one, one engine on the best device is put behind a new queue.
    """
    return _assembled(queue)[0]


def mount(
    server: fastapi.FastAPI,
    queue: JobQueue | None = None,
    path: str = "/",
    authorize: Callable[[fastapi.Request], str | None] | None = None,
    ending: Callable[[], bool] = lambda: False,
) -> fastapi.FastAPI:
    """Put the page on a server.

    Args:
        server: it needs no lifespan of its own for this.
        queue: as for `build`.
        path: where.
        authorize: returns who asks, None if the page is not for them; without it, everyone is let in.
        ending: tells whether the server is to end, and open pages with it.

    Returns:
        The server.
    """
    import gradio as gr
    from fastapi.responses import FileResponse, RedirectResponse

    from . import look
    from .guard import UPLOAD_BYTES, PageGuard
    from .live import live_routes

    blocks, page = _assembled(queue)
    prefix, icon = path.rstrip("/"), str(look.HERE / "favicon.png")
    server.include_router(live_routes(page.sounds, authorize), prefix=prefix)
    if prefix:
        server.add_api_route(prefix, lambda: RedirectResponse(f"{prefix}/"), include_in_schema=False)
        server.add_api_route("/favicon.ico", lambda: FileResponse(icon), include_in_schema=False)
    server.add_middleware(PageGuard, path=path, ending=ending)
    return gr.mount_gradio_app(
        server,
        blocks,
        path=prefix or "/",
        server_name=HOST,
        auth_dependency=authorize,
        allowed_paths=[],
        favicon_path=None if prefix else icon,
        show_error=False,
        max_file_size=UPLOAD_BYTES,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        theme=look.theme(),
        css=look.css(),
        head=look.head(),
    )


def serve(host: str = HOST, port: int = PORT, device: str = "auto", ready: Callable[[str], None] | None = None) -> None:
    """Serve the page until interrupted.

    Args:
        host: address to listen on; with one of this machine's own, requests by any other name are refused.
        port: 0 chooses a free one.
        device: auto, cpu, cuda, cuda:N or mps.
        ready: called with the address when the page answers.

    Raises:
        UserError: there is no such device, or the address cannot be used.
    """
    import fastapi
    import uvicorn
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from speechgen.service.engine import Engine
    from speechgen.service.jobs import JobQueue

    queue = JobQueue([Engine(device)])

    @asynccontextmanager
    async def life(server: fastapi.FastAPI) -> Any:
        yield
        queue.close()

    server = fastapi.FastAPI(openapi_url=None, lifespan=life)
    web = uvicorn.Server(uvicorn.Config(server, log_level="warning", timeout_graceful_shutdown=3))
    mount(server, queue, ending=lambda: web.should_exit)
    if host in LOCAL_NAMES:
        server.add_middleware(TrustedHostMiddleware, allowed_hosts=LOCAL_NAMES)
    with _listening(host, port) as listener:
        if ready is not None:
            ready(f"http://{host}:{listener.getsockname()[1]}/")
        web.run(sockets=[listener])


def _listening(host: str, port: int) -> Any:
    """Return a socket that listens.

    Raises:
        UserError: the address is taken, or is none.
    """
    import socket

    from speechgen.service import UserError

    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise UserError(f"cannot listen on {host}, port {port} ({error.strerror}): choose another --port") from error


def _assembled(queue: JobQueue | None) -> tuple[gradio.Blocks, Page]:
    """The blocks, and what the tabs share."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    if not os.environ.get("GRADIO_TEMP_DIR"):  # uploads are voices: for the eyes of this user alone
        os.environ["GRADIO_TEMP_DIR"] = tempfile.mkdtemp(prefix="speechgen-page-")
        atexit.register(shutil.rmtree, os.environ["GRADIO_TEMP_DIR"], ignore_errors=True)
    from .layout import assemble

    if queue is None:
        from speechgen.service.engine import Engine
        from speechgen.service.jobs import JobQueue

        queue = JobQueue([Engine()])
    return assemble(queue)


if __name__ == "__main__":
    serve(ready=lambda address: print(address))  # noqa: T201
