"""Examines an installation: each finding says what is there or what to do."""

from __future__ import annotations

import importlib.util
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from speechgen.core import checkpoint
from speechgen.core.errors import UserError
from speechgen.nn.packed import has_bfloat16
from speechgen.pipeline.stages import check, read_config
from speechgen.service import catalog, devices

__all__ = ["Finding", "examine", "verify_checkpoint"]

EXTRAS = {
    "app": ("gradio", "fastapi", "uvicorn"),
    "train": ("lightning", "tensorboard", "lhotse", "librosa", "sklearn", "transformers"),
    "eval": ("jiwer", "pocketsphinx", "speechmos", "onnxruntime", "pystoi", "sklearn", "librosa"),
    "pesq": ("pesq",),
    "ray": ("ray",),
}
"""Extra of the package -> modules that tell whether it is installed."""


@dataclass(frozen=True)
class Finding:
    """One part of the installation; `needed` if `synth` cannot work without it."""

    part: str
    ok: bool
    text: str
    needed: bool = True


def examine(pipeline: str = "default") -> list[Finding]:
    """Look at interpreter, torch, devices, espeak-ng, the pipeline's checkpoints, example voices and extras."""
    return [
        _python(),
        Finding("torch", True, f"{torch.__version__}, {torch.get_num_threads()} threads"),
        Finding("devices", True, "; ".join(filter(None, (", ".join(devices.available()[1:]), devices.overlooked_gpu())))),
        _bfloat16(),
        _espeak(),
        *_pipeline(pipeline),
        _voices(),
        *(_extra(name, modules) for name, modules in EXTRAS.items()),
        _resemblyzer(),
    ]


def verify_checkpoint(name: str) -> Finding:
    """Load a checkpoint strictly and look for values that are not finite."""
    try:
        folder = catalog.find_checkpoint(name)
        network = checkpoint.load(folder).network
    except UserError as error:
        return Finding(name, False, str(error))
    broken = [key for key, value in network.state_dict().items() if not torch.isfinite(value).all()]
    if broken:
        return Finding(name, False, f"{broken[0]} holds values that are not finite: restore the checkpoint")
    return Finding(name, True, f"{_describe(folder)}, {sum(p.numel() for p in network.parameters()) / 1e6:.2f} M parameters")


def _describe(folder: Path) -> str:
    """Model, size on disk and fingerprint."""
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    return f"{checkpoint.read_info(folder).model}, {size / 1e6:.1f} MB, {checkpoint.fingerprint(folder)}"


def _python() -> Finding:
    version = platform.python_version_tuple()
    ok = ("3", "11") <= version[:2] <= ("3", "12")
    return Finding("python", ok, platform.python_version() + ("" if ok else ": install 3.11 or 3.12"))


def _bfloat16() -> Finding:
    """Compare a matrix product in bfloat16 with float32: only the measured ratio tells whether it helps."""
    a = torch.randn(256, 256)

    def milliseconds(x: torch.Tensor) -> float:
        x @ x
        start = time.perf_counter()
        for _ in range(10):
            x @ x
        return 100 * (time.perf_counter() - start)

    ratio = milliseconds(a) / max(1e-6, milliseconds(a.bfloat16()))
    instead = "" if has_bfloat16() else ": where it is asked for, float32 is used"
    return Finding("bfloat16", ratio > 1.2, f"{ratio:.2f} times the speed of float32 on this CPU{instead}", needed=False)


def _espeak() -> Finding:
    from speechgen.text.phonemes import Phonemizer

    try:
        phonemizer = Phonemizer("en-us")
        phonemizer("yes")
    except (ImportError, OSError, RuntimeError, UserError) as error:
        return Finding("espeak-ng", False, f"{' '.join(str(error).split())}: pip install espeakng-loader phonemizer")
    return Finding("espeak-ng", True, f"{phonemizer.producer()['espeak']}, carried by espeakng-loader")


def _pipeline(name: str) -> list[Finding]:
    findings = []
    try:
        config = read_config(catalog.find_pipeline(name))
        folders = {}
        for slot, checkpoint_name in config.checkpoints.slots.items():
            try:
                folders[slot] = catalog.find_checkpoint(checkpoint_name)
                findings.append(Finding(checkpoint_name, True, _describe(folders[slot])))
            except (UserError, OSError) as error:
                advice = f"restore the folder checkpoints/, or put it into {catalog.home() / 'checkpoints'}"
                findings.append(Finding(checkpoint_name, False, f"{error}; {advice}"))
        if all(finding.ok for finding in findings):
            check(folders)
            findings.append(Finding(f"pipeline {name}", True, "its checkpoints fit together"))
    except UserError as error:
        findings.append(Finding(f"pipeline {name}", False, str(error)))
    return findings


def _voices() -> Finding:
    names = list(catalog.voices())
    text = ", ".join(names) or f"none: give --ref, or put a recording into {catalog.home() / 'voices'}"
    return Finding("example voices", bool(names), text, needed=False)


def _extra(name: str, modules: tuple[str, ...]) -> Finding:
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    text = f"lacks {', '.join(missing)}: pip install 'speechgen[{name}]'" if missing else ", ".join(modules)
    return Finding(f"extra {name}", not missing, text, needed=False)


def _resemblyzer() -> Finding:
    there = importlib.util.find_spec("resemblyzer") is not None
    text = "resemblyzer" if there else "lacks resemblyzer: pip install --no-deps resemblyzer"
    return Finding("speaker similarity", there, text, needed=False)
