"""The Music tab in a real browser."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile

from app.tabs import music
from speechgen.service.engine import Engine
from tests.app.test_browser import download, picture, seed, tab, text_box, told
from tests.tiny import make_music

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


@pytest.fixture
def opened(open_page: Callable[..., Any]) -> Any:
    page = open_page()
    tab(page, "Music")
    return page


def test_a_prompt_is_composed_and_drawn(opened: Any, shots: Path):
    text_box(opened, "prompt").fill("a small bell")
    opened.locator("#compose").click()
    told(opened, "Done")
    samples, rate, name = download(opened)
    assert (rate, len(samples)) == (24000, 240_000) and name == f"music-{seed(opened)}.wav"
    width, height = picture(opened)
    assert width > height
    opened.screenshot(path=shots / "music-light.png", full_page=True)


def test_a_list_becomes_a_zip_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What the button of the list does, without the browser."""
    monkeypatch.setenv("SPEECHGEN_HOME", str(make_music(tmp_path / "home")))
    (tmp_path / "list.csv").write_text("prompt,duration,count,out\na bell,1,2,bell\nrain,0.5,,\n")
    rows = music._rows(str(tmp_path / "list.csv"), tmp_path / "out", {"steps": 2}, "wav")
    report = music._Pieces(rows, tmp_path / "out")(Engine("cpu"), lambda done, total: None)
    assert (report.spoken, report.failed) == (3, ())
    music._pack(tmp_path / "out", tmp_path / "music.zip")
    with zipfile.ZipFile(tmp_path / "music.zip") as archive:
        assert sorted(archive.namelist()) == ["0002.wav", "bell-1.wav", "bell-2.wav", "manifest.jsonl"]
        assert soundfile.info(io.BytesIO(archive.read("0002.wav"))).duration == 0.5


def test_what_cannot_be_composed_is_told_with_its_line_and_without_paths(opened: Any, tmp_path: Path):
    (tmp_path / "list.csv").write_text("prompt,duration\na bell,soon\n,1\n")
    compose_list(opened, tmp_path / "list.csv")
    line = told(opened, "2 faults")
    assert "line 2" in line and "line 3" in line and str(tmp_path) not in line and "/" not in line
    text_box(opened, "prompt").fill(" ")
    opened.locator("#compose").click()
    told(opened, "The prompt is empty")


def compose_list(page: Any, path: Path) -> None:
    page.get_by_role("button", name="A list of prompts").click()
    page.locator("#music-list input[type=file]").set_input_files(path)
    page.locator("#music-list", has_text=path.name).wait_for()
    page.locator("#compose-list").click()
