"""How the threads of one torch process wait for each other."""

from __future__ import annotations

import os

__all__ = ["share_cores"]

SPINS = "20000"
"""How often a thread of libgomp looks before it sleeps: 30,000 cost nothing on quiet cores, 100,000 are slow on shared ones."""


def share_cores() -> None:
    """Let threads that wait for each other sleep soon, so that another program on their cores does not stop them.

    Heard by libgomp only before torch is loaded. Its own 300,000 looks last milliseconds, at each of thousands of joins as soon
    as one thread has lost its core: a sentence of 0.3 s then takes half a minute. What the user has set stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
