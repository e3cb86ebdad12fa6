"""Counters and gauges in Prometheus' text format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.types import Scope

from speechgen.service.jobs import JobQueue

__all__ = ["Metrics"]

BOUNDS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 12.0, 25.0, 50.0, 100.0, 300.0)


class Metrics:
    """What one application has done."""

    def __init__(self, queue: JobQueue) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter("speechgen_requests", "Requests answered", ["method", "route", "status"], registry=registry)
        self._seconds = Histogram(
            "speechgen_request_seconds",
            "From the request to the end of its answer",
            ["route"],
            buckets=BOUNDS,
            registry=registry,
        )
        self._first = Histogram(
            "speechgen_first_sound_seconds", "From the request to the first sound", buckets=BOUNDS, registry=registry
        )
        self._audio = Counter("speechgen_audio_seconds", "Sound that was made", registry=registry)
        for name, what, tell in (
            ("running", "Jobs that are being done", lambda: queue.running),
            ("waiting", "Jobs that wait", lambda: queue.waiting),
            ("capacity", "Jobs that may wait", lambda: queue.capacity),
        ):
            Gauge(f"speechgen_jobs_{name}", what, registry=registry).set_function(tell)

    def note_request(self, scope: Scope, status: int, seconds: float) -> None:
        """Count an answer; paths that are no endpoint count together."""
        route = getattr(scope.get("route"), "path", None) or "other"
        method = scope["method"] if scope["method"] in ("GET", "POST", "DELETE", "OPTIONS", "HEAD") else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def note_first_sound(self, seconds: float) -> None:
        """Count the time to the first sound."""
        self._first.observe(seconds)

    def note_audio(self, seconds: float) -> None:
        """Count sound that was made."""
        self._audio.inc(seconds)

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self._registry)
