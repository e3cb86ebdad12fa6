"""The error a user can act on: one line, exit code 2, no traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A fault in what was given. The message says what was given, what is allowed and what to do."""


def unknown(kind: str, given: str, allowed: Iterable[str]) -> UserError:
    """Build the error for a name that is not one of `allowed`, naming the nearest match.

    Args:
        kind: what the name was meant to be, such as "pipeline" or "key".
        given: the unknown name.
        allowed: every accepted name.
    """
    options = sorted(allowed)
    near = difflib.get_close_matches(given, options, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UserError(f"unknown {kind} {given!r}: {hint}allowed: {', '.join(options) or 'none'}")
