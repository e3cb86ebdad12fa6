"""A socket, uvicorn, and an orderly end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import closing
from types import FrameType

import uvicorn

from speechgen.core.errors import UserError
from speechgen.server.application import build, check, warm_up
from speechgen.server.settings import ServerSettings
from speechgen.service.engine import Engine
from speechgen.service.jobs import JobQueue

__all__ = ["serve"]


def serve(settings: ServerSettings, ready: Callable[[str], None] | None = None) -> None:
    """Serve until interrupted. Running requests may finish, for as long as `grace` says.

    Args:
        settings: see there.
        ready: called with the address when requests are answered.

    Raises:
        UserError: the address cannot be used, or as `application.build`.
    """
    check(settings)
    engine = Engine(settings.device)
    with _listen(settings) as listener, closing(_queue(engine, settings)) as queue:
        ending = threading.Event()
        application = build(settings, queue, ending.is_set)
        if settings.warm_up:
            warm_up(queue, settings)
        shown = f"[{settings.host}]" if ":" in settings.host else settings.host
        server = _Server(
            uvicorn.Config(
                application,
                log_level="warning",
                server_header=False,
                timeout_keep_alive=10,
                timeout_graceful_shutdown=max(1, round(settings.grace)),
            ),
            lambda: ready(f"http://{shown}:{listener.getsockname()[1]}/") if ready else None,
            ending,
        )
        server.run(sockets=[listener])
    if not server.started:
        raise UserError("the server did not start: the lines above say why")


def _queue(engine: Engine, settings: ServerSettings) -> JobQueue:
    return JobQueue([engine], waiting=settings.waiting, timeout=settings.timeout)


class _Server(uvicorn.Server):
    """uvicorn that tells when it answers, and when it is to end."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], ending: threading.Event) -> None:
        super().__init__(config)
        self._ready, self._ending = ready, ending

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note it, and end."""
        self._ending.set()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell."""
        await super().startup(sockets)
        if self.started:
            self._ready()


def _listen(settings: ServerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=128)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot listen on {settings.host}, port {settings.port} ({reason}): choose another --port") from error
