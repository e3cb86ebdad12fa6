"""Files of the Hugging Face hub: fetched into its own cache, and compared with the hashes that it tells.

The cache names a file's contents by its hash: SHA-256 of large files, git's SHA-1 of small ones. What differs is removed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from speechgen.core.errors import UserError

__all__ = ["ADDRESS", "WEIGHTS", "Unreachable", "fetch", "split_address"]

ADDRESS = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
"""Owner and repository."""
WEIGHTS = (".safetensors", ".pt", ".bin", ".th")
"""How names of files of weights end."""


class Unreachable(Exception):
    """The hub did not give the files; says why."""


def split_address(address: str) -> tuple[str, str]:
    """Return the repository, and the folder in it or nothing."""
    owner, name, *folder = address.split("/")
    return f"{owner}/{name}", "/".join(folder)


def fetch(address: str, patterns: Sequence[str]) -> Path:
    """Return a folder with the files that fit, fetched if they are not in the cache; of weights, the first pattern that fits.

    Args:
        address: owner and repository, and perhaps a folder in it.
        patterns: of file names, the weights first.

    Raises:
        Unreachable: there is no connection, no such repository, or no `huggingface_hub`.
        UserError: what came is not what the hub has.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError as error:
        raise Unreachable("pip install huggingface_hub") from error
    repository, folder = split_address(address)
    weights = [pattern for pattern in patterns if pattern.endswith(WEIGHTS)]
    others = [pattern for pattern in patterns if pattern not in weights]
    for pattern in weights:
        wanted = [f"{folder}/{each}" if folder else each for each in (pattern, *others)]
        try:
            place = Path(snapshot_download(repository, allow_patterns=wanted)) / folder
        except (OSError, HfHubHTTPError, HFValidationError) as error:
            raise Unreachable(type(error).__name__) from error
        if any(place.glob(pattern)):
            for path in {path for each in (pattern, *others) for path in place.glob(each)}:
                _verify(path)
            return place
    raise Unreachable(f"{address} has no {' or '.join(weights)}")


def _verify(path: Path) -> None:
    """Compare a file with the hash that is its name in the cache; one that lies there under its own name has none.

    Raises:
        UserError: they differ; the file is removed.
    """
    stored = path.resolve()
    told = stored.name
    if not re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{40}", told):
        return
    digest = (
        hashlib.sha256() if len(told) == 64 else hashlib.sha1(f"blob {stored.stat().st_size}\0".encode(), usedforsecurity=False)
    )
    with stored.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    if digest.hexdigest() != told:
        stored.unlink()
        path.unlink(missing_ok=True)
        raise UserError(
            f"{path.name} came damaged: its hash is {digest.hexdigest()[:16]}…, the hub tells {told[:16]}…; try again"
        )
