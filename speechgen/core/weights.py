"""Weights that others published: safetensors, or pickles read without running anything they hold.

The only place where a pickle is opened. Checkpoints of this project are never pickles (see core.checkpoint).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError  # noqa: TID251  the error alone
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from speechgen.core.errors import UserError

__all__ = ["find_file", "read_weights", "tensors"]


def find_file(source: Path, patterns: Sequence[str]) -> Path:
    """Return `source` itself if it is a file, or the file in that folder that fits a pattern, earlier patterns first.

    Raises:
        UserError: there is none, or several fit.
    """
    if source.is_file():
        return source
    for pattern in patterns:
        found = sorted(source.glob(pattern))
        if len(found) > 1:
            raise UserError(f"{source} holds {', '.join(path.name for path in found)}: give the path of one of them")
        if found:
            return found[0]
    raise UserError(f"nothing to import at {source}: expected a file, or a folder with {' or '.join(patterns)}")


def read_weights(path: Path) -> dict[str, Any]:
    """Read a published file: tensors by name, perhaps in groups, with plain values beside them.

    Raises:
        UserError: it is damaged, not a mapping, or a pickle that asks for more than tensors and plain values.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251  the one place, and restricted
    except UnpicklingError as error:
        raise UserError(
            f"{path} is refused: it is not a plain file of weights, and reading it would run code that is stored in it, or it "
            "is damaged; ask its publisher for a safetensors file"
        ) from error
    except Exception as error:  # what is damaged in a pickle is what it tells to do: it can end in any error
        told = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path} cannot be read as weights ({told}): copy it again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not weights by name: give the file with the state dict")
    if strange := [key for key in content if not isinstance(key, str)]:
        raise UserError(f"{path} has {strange[0]!r} where a name should be: give the file with the state dict")
    return content


def tensors(group: Any, path: Path) -> dict[str, Tensor]:
    """Return the tensors of a group in a published file, without the plain values beside them.

    Args:
        group: what the file has there.
        path: of the file.

    Raises:
        UserError: it is no mapping of names.
    """
    if not isinstance(group, Mapping) or not all(isinstance(key, str) for key in group):
        kind = "numbered entries" if isinstance(group, Mapping) else f"a {type(group).__name__}"
        raise UserError(f"{path} has {kind} where its weights should be by name: give the file with the state dict")
    return {key: value for key, value in group.items() if isinstance(value, Tensor)}
