"""What can be chosen when the server starts."""

from __future__ import annotations

from pydantic import Field

from speechgen.core.config import StrictModel

__all__ = ["LOCAL_NAMES", "ServerSettings"]

LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]", "::1")


class ServerSettings(StrictModel):
    """Limits, names and keys."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="0 chooses a free one")
    api_key: str | None = Field(None, min_length=1, description="what clients have to show; None: nothing")
    hosts: tuple[str, ...] = Field((), description="names, besides the local ones, that the server may be asked by")
    origins: tuple[str, ...] = Field((), description="web pages that may ask it (CORS)")
    device: str = Field("auto", description="where the networks run")
    pipeline: str = Field("default", description="what speaks when a request names no model")
    waiting: int = Field(16, ge=1, le=1000, description="requests that may wait; more are refused")
    timeout: float = Field(600.0, gt=0, description="seconds from a question to the end of its answer")
    grace: float = Field(30.0, ge=0, description="seconds that running requests have when the server is to end")
    warm_up: bool = Field(False, description="load the pipeline and speak once before the first request is taken")
    page: bool = Field(False, description="also serve the page, at /app")
    body_bytes: int = Field(25 * 2**20, ge=2**20, description="largest upload")
    body_seconds: float = Field(60.0, gt=0, description="time for a request to come in")
    crowd: int = Field(64, ge=2, description="requests that are looked at at once; more are refused unseen")

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOCAL_NAMES

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """Names to answer to; none: any, as who asks has to show the key, which no foreign web page has."""
        if not self.local and not self.hosts:
            return frozenset()
        return frozenset((*LOCAL_NAMES, self.host, *self.hosts))
