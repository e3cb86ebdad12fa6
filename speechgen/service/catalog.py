"""Finds checkpoints, pipelines and voices: recordings, and those that `speechgen voices add` stored.

Places, the first one that knows a name wins:

    $SPEECHGEN_HOME (or ~/.local/share/speechgen)   what the user added: checkpoints/, pipelines/, voices/
    a checkout of the repository                    checkpoints/, recipes/pipelines/, app/examples/
    an installed wheel                              the same, packaged beside speechgen: speechgen_bundle/, speechgen_app/

A wheel carries every recipe and few checkpoints: pipelines whose checkpoints are not here can be named, but are not listed.
Everything is looked up when called: nothing is read at import.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from speechgen.core.errors import UserError, unknown

__all__ = [
    "Voice",
    "checkpoints",
    "default_voice",
    "find_checkpoint",
    "find_pipeline",
    "find_voice",
    "home",
    "lacking",
    "licence",
    "of_role",
    "pipelines",
    "unusable",
    "voices",
]

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
STORED_SUFFIX = ".safetensors"
VOICE_NAME = r"[A-Za-z0-9_-]{1,64}"


@dataclass(frozen=True)
class Voice:
    """A reference recording, or a stored voice, that has a name."""

    name: str
    path: Path

    @property
    def stored(self) -> bool:
        """Whether it is a stored voice (see service.voices) and not a recording."""
        return self.path.suffix == STORED_SUFFIX

    @property
    def transcript(self) -> str | None:
        """What the recording says, if a voices.json beside it tells."""
        known = self.path.with_name("voices.json")
        if self.stored or not known.is_file():
            return None
        try:
            said = json.loads(known.read_text(encoding="utf-8"))[self.name]["text"]
        except (ValueError, KeyError, TypeError):
            return None
        return said if isinstance(said, str) else None


@dataclass(frozen=True)
class _Place:
    checkpoints: Path
    pipelines: Path
    voices: Path


def home() -> Path:
    """The user's own folder; it need not exist."""
    return Path(os.environ.get("SPEECHGEN_HOME") or Path.home() / ".local" / "share" / "speechgen")


def _places() -> list[_Place]:
    own = home()
    beside = Path(__file__).resolve().parents[2]
    places = [_Place(own / "checkpoints", own / "pipelines", own / "voices")]
    if (beside / "pyproject.toml").is_file():
        places.append(_Place(beside / "checkpoints", beside / "recipes" / "pipelines", beside / "app" / "examples"))
    bundle = beside / "speechgen_bundle"
    places.append(_Place(bundle / "checkpoints", bundle / "recipes" / "pipelines", beside / "speechgen_app" / "examples"))
    return places


def checkpoints() -> dict[str, Path]:
    """Folder of every checkpoint by name."""
    found = [path.parent for place in _places() for path in sorted(place.checkpoints.glob("*/config.json"))]
    return _collect([(folder.name, folder) for folder in found])


def of_role(role: str) -> list[str]:
    """Names of the checkpoints of one role, such as "vocoders"; damaged ones are passed over."""
    from speechgen.core import checkpoint, registry  # they import torch, which most of what asks here can do without

    roles = registry.names()
    found = []
    for name, folder in checkpoints().items():
        try:
            model = checkpoint.read_info(folder).model
        except UserError:
            continue
        if roles.get(model) == role:
            found.append(name)
    return found


def licence(folder: Path) -> str | None:
    """Return the licence of a checkpoint's weights as its card names it, None if it does not."""
    card = folder / "card.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    found = re.search(r"Licen[cs]e of the weights\W*[:\s]\W*([\w.-]*\w)", text)
    return found[1] if found else None


def pipelines() -> dict[str, Path]:
    """YAML of every pipeline by name whose checkpoints are installed."""
    return {name: path for name, path in _pipelines().items() if not lacking(path)}


def _pipelines() -> dict[str, Path]:
    """YAML of every pipeline by name."""
    return _collect([(path.stem, path) for place in _places() for path in sorted(place.pipelines.glob("*.yaml"))])


def lacking(pipeline: Path) -> list[str]:
    """Return the checkpoints that a pipeline's YAML names and that are not installed; of one that cannot be read, none."""
    import yaml  # most of what asks here can do without

    try:
        names = yaml.safe_load(pipeline.read_text(encoding="utf-8"))["checkpoints"].values()
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        return []  # whoever loads it is told
    known = checkpoints()
    return [name for name in names if isinstance(name, str) and name not in known and not _is_folder(name)]


def unusable(name: str, kind: str = "pipeline") -> UserError:
    """Why a name is none of `pipelines`: there is none of that name, or its checkpoints are not installed."""
    path = _pipelines().get(name)
    if path is None:
        return unknown(kind, name, pipelines())
    return UserError(f"{kind} {name} needs {' and '.join(lacking(path))}, not installed here")


def _is_folder(name: str) -> bool:
    return os.sep in name and (Path(name) / "config.json").is_file()


def voices() -> dict[str, Voice]:
    """Every voice by name, the user's own first."""
    found = [
        (path.stem, path)
        for place in _places()
        for path in sorted(place.voices.glob("*"))
        if path.suffix.lower() in AUDIO_SUFFIXES or _is_stored(path)
    ]
    return {name: Voice(name, path) for name, path in _collect(found).items()}


def _is_stored(path: Path) -> bool:
    """A stored voice lies in its folder itself: a link that leads elsewhere is none."""
    named = path.suffix == STORED_SUFFIX and re.fullmatch(VOICE_NAME, path.stem) is not None
    return named and path.resolve() == path.parent.resolve() / path.name and path.is_file()


def _collect(found: list[tuple[str, Path]]) -> dict[str, Path]:
    """The first of each name."""
    result: dict[str, Path] = {}
    for name, path in found:
        result.setdefault(name, path)
    return result


def find_checkpoint(name: str) -> Path:
    """Return the folder of a checkpoint, given its name or the path of its folder.

    Raises:
        UserError: there is none; names the nearest match.
    """
    known = checkpoints()
    if name in known:
        return known[name]
    if _is_folder(name):
        return Path(name)
    raise unknown("checkpoint", name, known)


def find_pipeline(name: str) -> Path:
    """Return the YAML of a pipeline, given its name or path; its checkpoints need not be installed.

    Raises:
        UserError: there is none; names the nearest match.
    """
    known = _pipelines()
    if name in known:
        return known[name]
    if name.endswith(".yaml") and Path(name).is_file():
        return Path(name)
    raise unknown("pipeline", name, pipelines())


def find_voice(name: str) -> Voice:
    """Return a voice by name.

    Raises:
        UserError: there is none; names the nearest match.
    """
    known = voices()
    if name not in known:
        raise unknown("voice", name, known)
    return known[name]


def default_voice() -> Voice:
    """Return the voice that speaks when no reference is given: a recording if there is one, so that storing changes nothing.

    Raises:
        UserError: no voice is installed.
    """
    known = sorted(voices().values(), key=lambda voice: voice.stored)
    if not known:
        raise UserError(f"no example voice is installed: give a reference recording, or put one into {home() / 'voices'}")
    return known[0]
