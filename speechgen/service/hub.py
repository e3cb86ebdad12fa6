"""Files of the Hugging Face hub: fetched into its own cache, and compared with the hashes that it tells.

The cache names a file's contents by its hash: SHA-256 of large files, git's SHA-1 of small ones. What differs is removed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from speechgen.core.errors import UserError

__all__ = ["ADDRESS", "WEIGHTS", "Unreachable", "fetch", "split_address"]

ADDRESS = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?:/\w[\w.-]*)*"
"""Owner and repository, and perhaps a folder in it."""
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

    What the repository has is asked first, so that nothing is fetched that is not wanted; without a connection, what the
    cache has of it must do.

    Args:
        address: owner and repository, and perhaps a folder in it.
        patterns: of file names, the weights first.

    Raises:
        Unreachable: there is no connection, no such repository, or no `huggingface_hub`.
        UserError: its weights lie in folders, or what came is not what the hub has.
    """
    try:
        from huggingface_hub import list_repo_files, snapshot_download
    except ImportError as error:
        raise Unreachable("pip install huggingface_hub") from error
    repository, folder = split_address(address)
    root = None
    try:
        listed = list_repo_files(repository)
    # The client has had three libraries for HTTP so far, and one for storage: their errors have no other base in common.
    except Exception as error:  # noqa: BLE001
        root = _cached(repository, error)
        listed = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    wanted = _wanted(listed, address, patterns)
    try:
        root = root or Path(snapshot_download(repository, allow_patterns=wanted))
    except Exception as error:
        raise Unreachable(type(error).__name__) from error
    for name in wanted:
        _verify(root / name)
    return root / folder


def _cached(repository: str, reason: Exception) -> Path:
    """What the cache has of a repository that cannot be asked.

    Raises:
        Unreachable: nothing.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, allow_patterns=[], local_files_only=True))
    except Exception as error:
        raise Unreachable(type(reason).__name__) from error


def _wanted(listed: Sequence[str], address: str, patterns: Sequence[str]) -> list[str]:
    """Which of a repository's files to fetch.

    Raises:
        Unreachable: there are no weights.
        UserError: they lie in folders of the one that is asked for.
    """
    repository, folder = split_address(address)
    weights = [pattern for pattern in patterns if pattern.endswith(WEIGHTS)]
    others = [pattern for pattern in patterns if pattern not in weights]
    for pattern in weights:
        if found := _fitting(listed, folder, [pattern]):
            return found + _fitting(listed, folder, others)
    below = {PurePosixPath(name).parent.as_posix() for name in listed if name.startswith(f"{folder}/" if folder else "")}
    if folders := sorted(place for place in below if _fitting(listed, place, weights)):
        told = ", ".join(f"{repository}/{place}" for place in folders)
        raise UserError(f"the weights of {address} lie in folders, each a model of its own: give one of {told}")
    raise Unreachable(f"{address} has no {' or '.join(weights)}")


def _fitting(listed: Sequence[str], folder: str, patterns: Sequence[str]) -> list[str]:
    """Names of files in a folder, but for those in folders of it, that fit a pattern."""
    places = [PurePosixPath(folder, pattern) for pattern in patterns]
    paths = [PurePosixPath(name) for name in listed]
    return [
        path.as_posix()
        for path in paths
        if any(path.match(str(place)) and len(path.parts) == len(place.parts) for place in places)
    ]


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
