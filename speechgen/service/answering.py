"""A program in an environment of its own that answers line by line: how published code is measured beside ours."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from speechgen.core.errors import UserError

__all__ = ["Ask", "answering"]

Ask = Callable[[str], dict[str, Any]]
"""Sends a line, nothing if it is empty, and returns the JSON object that comes back."""


@contextmanager
def answering(python: Path, script: str, arguments: Sequence[str], install: str) -> Iterator[Ask]:
    """Start `script` with as many threads as torch takes here; yields what asks it. It ends with the block.

    Args:
        python: interpreter of the environment.
        script: path of the program.
        arguments: of it.
        install: how to make such an environment, for messages.

    Raises:
        UserError: it cannot be started, or ends without an answer.
    """
    threads = str(torch.get_num_threads())
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    environment.pop("PYTHONPATH", None)
    with tempfile.TemporaryFile() as errors:
        try:
            child = subprocess.Popen(
                [str(python), script, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                text=True,
            )
        except OSError as error:
            raise UserError(f"cannot run {python} ({error.strerror}): {install}") from error
        assert child.stdin is not None and child.stdout is not None
        stdin, stdout = child.stdin, child.stdout

        def ask(line: str) -> dict[str, Any]:
            if line:
                print(line, file=stdin, flush=True)
            answer = stdout.readline()
            if not answer:
                errors.seek(0)
                last = errors.read().decode(errors="replace").strip().rpartition("\n")[2]
                raise UserError(f"the published code does not run with {python} ({last[:200]}): {install}")
            told: dict[str, Any] = json.loads(answer)
            return told

        with child:
            try:
                yield ask
            finally:
                child.terminate()
