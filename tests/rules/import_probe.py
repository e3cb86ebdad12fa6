"""Run in a process of its own by test_imports.py: imports modules of the package and prints, as JSON, what that changed.

python import_probe.py all              every module; the libraries they use are imported beforehand, so that only
                                        what the package itself does is seen
python import_probe.py without_extras   the modules that `synth` needs, with the packages of the extras out of reach
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import sys
import warnings
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

LIBRARIES = (
    "torch", "torchaudio", "numpy", "soundfile", "pydantic", "lightning.fabric", "torch.utils.tensorboard", "lhotse", "fastapi",
    "uvicorn", "prometheus_client", "numba",
)  # fmt: skip
EXTRAS = (
    "gradio",
    "fastapi",
    "uvicorn",
    "starlette",
    "prometheus_client",
    "lightning",
    "tensorboard",
    "lhotse",
    "librosa",
    "sklearn",
    "transformers",
    "jiwer",
    "pocketsphinx",
    "speechmos",
    "onnxruntime",
    "pesq",
    "pystoi",
    "resemblyzer",
    "webrtcvad",
    "ray",
)
OPTIONAL_ROOMS = ("speechgen.data", "speechgen.training", "speechgen.evaluation", "speechgen.server")


class _Refuse(MetaPathFinder):
    """Makes the packages of the extras look absent."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname.partition(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def module_names() -> list[str]:
    """Every module of the package, found in its folders without importing any."""
    import speechgen

    root = Path(speechgen.__file__).parent
    paths = [path.relative_to(root.parent).with_suffix("") for path in sorted(root.rglob("*.py")) if path.name != "__main__.py"]
    return [".".join(path.parts).removesuffix(".__init__") for path in paths]


def state() -> dict[str, Any]:
    """What importing must leave as it is."""
    import torch

    return {
        "environment": dict(os.environ),
        "torch threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "torch defaults": [str(torch.get_default_dtype()), str(torch.get_default_device()), torch.is_grad_enabled()],
        "torch precision": [torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()],
        "torch random state": torch.get_rng_state().sum().item(),
        "device in use": torch.cuda.is_initialized(),
        "files": sorted(str(path) for path in Path.cwd().rglob("*")),
        "log handlers": len(logging.getLogger().handlers),
        "warning filters": len(warnings.filters),
        "signal handlers": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)],
        "module search path": list(sys.path),
    }


def main(mode: str) -> None:
    """Import, compare, print."""
    names = module_names()
    if mode == "without_extras":
        sys.meta_path.insert(0, _Refuse())
        names = [name for name in names if not name.startswith(OPTIONAL_ROOMS)]
    else:
        for library in LIBRARIES:
            importlib.import_module(library)
    before, failed = state(), {}
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            failed[name] = str(error)
    after = state()
    changed = {key: [before[key], after[key]] for key in before if before[key] != after[key]}
    print(json.dumps({"modules": len(names), "failed": failed, "changed": changed}))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
