"""Imports of packages that only evaluation needs, when they are needed."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from speechgen.core.errors import UserError

__all__ = ["require"]


def require(module: str, *, install: str = '"speechgen[eval]"') -> Any:
    """Import a module of an optional package.

    Args:
        module: dotted name, such as "speechmos.dnsmos".
        install: what `pip install` is to be given.

    Raises:
        UserError: the package, or one that it needs, is missing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside those packages are no concern of the user
            return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise UserError(f"evaluation needs the package {package} ({error}): run pip install {install}") from error
