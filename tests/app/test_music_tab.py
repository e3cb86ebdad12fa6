"""The Music tab in a real browser."""

from __future__ import annotations

import io
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import soundfile
import torch

from app import work
from app.tabs import music
from speechgen.service.jobs import JobCancelled, JobQueue
from speechgen.service.requests import MusicRequest
from speechgen.service.results import SynthesisResult
from tests.app.test_browser import download, picture, seed, tab, text_box, told
from tests.tiny import RATE, make_music

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


class Maker:
    """An engine whose pieces are there at once, but those of the prompt "long": they are made until somebody stops it."""

    device = "cpu"

    def __init__(self) -> None:
        self.begun, self.left = threading.Event(), threading.Event()

    def load_maker(self, name: str | None) -> None:
        """Nothing is needed."""

    def compose(self, request: MusicRequest, progress: Callable[[int, int], None]) -> SynthesisResult:
        if request.prompt == "broken":
            raise ValueError("this one cannot be made")
        if request.prompt == "long":
            self.begun.set()
            try:
                for _ in range(2000):
                    progress(1, 2)
                    time.sleep(0.005)
            finally:
                self.left.set()
        samples = torch.zeros(round(request.duration * RATE))
        return SynthesisResult(samples, RATE, 1, "maker", "", "cpu", 1, 0.0, 0.1, warnings=("quiet",))


@dataclass
class Listed:
    """The button of the list, without the browser."""

    folder: Path
    maker: Maker = field(default_factory=Maker)
    parts: tuple[Any, ...] = ()

    def press(self, content: str, timeout: float = 60.0, stop: bool = False) -> str:
        """Return what is shown at last; `stop` is pressed when a long piece has begun."""
        (self.folder / "list.csv").write_text(content)
        queue = JobQueue([self.maker], timeout=timeout)  # type: ignore[list-item]
        with gr.Blocks(analytics_enabled=False):
            music.build(work.Page(queue))
        status, updates, inputs, table = self.parts
        data = {each: str(self.folder / "list.csv") if each.elem_id == "music-list" else each.value for each in inputs}
        turn, shown = work.Turn(), {}
        for update in updates(data, turn, self.folder):
            shown |= update
            if stop and self.maker.begun.is_set():
                turn.stop()
        assert "long" not in content or self.maker.left.wait(5), "it is left inside the piece"
        queue.close(5)
        return f"{shown[status]} {shown[table].value}"

    def packed(self) -> dict[str, float]:
        """Seconds by name of what the visitor gets."""
        with zipfile.ZipFile(self.folder / "music.zip") as archive:
            names = [name for name in archive.namelist() if name != "manifest.jsonl"]
            assert archive.read("manifest.jsonl").count(b'"sha256"') == len(names)
            return {name: soundfile.info(io.BytesIO(archive.read(name))).duration for name in names}


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Listed:
    monkeypatch.setenv("SPEECHGEN_HOME", str(make_music(tmp_path / "home")))
    found = Listed(tmp_path)

    def wire(page: Any, tab: str, begin: Any, stop: Any, status: Any, updates: Any, inputs: Any, outputs: Any) -> None:
        if tab == "Music: list":
            found.parts = status, updates, inputs, outputs[-1]

    monkeypatch.setattr(work.Page, "wire", wire)
    return found


def test_a_list_becomes_a_zip_file(listed: Listed):
    shown = listed.press("prompt,duration,count,out\na bell,1,2,bell\nrain,0.5,,\nbroken,1,,\n")
    assert "Done: 3 of 4 pieces are made, the others failed." in shown
    assert "this one cannot be made" in shown and "made; quiet" in shown
    assert listed.packed() == {"0002.wav": 0.5, "bell-1.wav": 1.0, "bell-2.wav": 1.0}


@pytest.mark.parametrize(("way", "told"), [({"stop": True}, "Stopped:"), ({"timeout": 0.5}, "The job took longer than 2 s")])
def test_what_is_finished_of_a_list_that_ends_early_is_kept(listed: Listed, way: dict[str, Any], told: str):
    shown = listed.press("prompt,duration\na bell,1\nrain,0.5\nlong,1\na drum,1\n", **way)
    assert told in shown and "2 of 4 pieces were finished and are kept." in shown and shown.count("not made") == 2
    assert listed.packed() == {"0001.wav": 1.0, "0002.wav": 0.5}


def test_a_list_of_which_nothing_is_finished_gives_nothing(listed: Listed):
    with pytest.raises(JobCancelled):
        listed.press("prompt\nlong\n", stop=True)
    assert not (listed.folder / "music.zip").exists()


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
