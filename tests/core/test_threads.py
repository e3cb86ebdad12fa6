"""Threads sleep soon, unless the user has said how they wait."""

from __future__ import annotations

import os
import sys

import pytest

from speechgen.cli import main
from speechgen.core.threads import SPINS, share_cores


@pytest.mark.parametrize(
    ("given", "spins"),
    [
        pytest.param({}, SPINS, id="nothing said: few looks before sleeping"),
        pytest.param({"GOMP_SPINCOUNT": "7"}, "7", id="the user's number stays"),
        pytest.param({"OMP_WAIT_POLICY": "ACTIVE"}, None, id="the user's policy decides alone"),
    ],
)
def test_what_the_user_has_set_stays(given: dict[str, str], spins: str | None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "environ", dict(given))
    share_cores()
    assert os.environ == given | ({"GOMP_SPINCOUNT": spins} if spins else {})


def test_the_command_sets_it_before_torch_is_loaded(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(sys, "argv", ["speechgen", "--version"])
    with pytest.raises(SystemExit):
        main.main()
    assert os.environ.get("GOMP_SPINCOUNT") == SPINS and capsys.readouterr().out.startswith("speechgen ")
