"""Finds the web page, which is no part of this package: app/ of a checkout, speechgen_app of an installed wheel."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from speechgen.core.errors import UserError

__all__ = ["load_page"]

NAME = "speechgen_app"


def load_page() -> ModuleType:
    """Return the module that builds the page: `build`, `mount` and `serve`, see app/main.py.

    A checkout's folder is imported under the name that it has in a wheel: `app` alone may be anybody's.

    Raises:
        UserError: the page or the libraries of the extra `app` are not installed.
    """
    beside = Path(__file__).resolve().parents[2]
    if NAME not in sys.modules and (beside / "pyproject.toml").is_file():
        folder = beside / "app"
        spec = importlib.util.spec_from_file_location(NAME, folder / "__init__.py", submodule_search_locations=[str(folder)])
        if spec is not None and spec.loader is not None and (folder / "main.py").is_file():
            module = importlib.util.module_from_spec(spec)
            sys.modules[NAME] = module
            spec.loader.exec_module(module)
    try:
        for library in ("gradio", "fastapi", "uvicorn"):
            if importlib.util.find_spec(library) is None:
                raise UserError(f'the page needs {library}: pip install "speechgen[app]"')
        return importlib.import_module(f"{NAME}.main")
    except ModuleNotFoundError as error:
        raise UserError(f"the page cannot be loaded ({error}): install speechgen with its extra app") from error
