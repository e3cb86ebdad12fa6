"""The page in a process of its own, with tiny checkpoints, and a browser to look at it.

The browser is the system's Chromium or Chrome, driven by Playwright. Where either is missing, the tests that are marked
`browser` are skipped and say so. Pictures of the page are left in runs/screenshots.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from speechgen.audio.io import write_audio
from tests.tiny import RATE, home, make_home, make_music, tiny_home, voice_like, write_pipeline

__all__ = ["home", "tiny_home"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTH, HEIGHT = 1280, 1000


@pytest.fixture(scope="session")
def page_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose default pipeline is a tiny one, with a tiny model that makes music."""
    home = make_music(make_home(tmp_path_factory.mktemp("page") / "home"))
    write_pipeline(home, "default")
    return home


@contextmanager
def served(folder: Path, home: Path) -> Iterator[str]:
    """Serve the page by `speechgen app` and yield where it answers."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "SPEECHGEN_HOME": str(home), "TMPDIR": str(folder)}
    command = [sys.executable, "-u", "-m", "speechgen", "app", "--port", "0", "--device", "cpu"]
    with (
        (folder / "log").open("w+") as log,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "http://" in line, (folder / "log").read_text()
        yield next(word for word in line.split() if word.startswith("http://"))
        process.terminate()
        process.wait(30)
        log.seek(0)
        assert "Traceback" not in (told := log.read()), told


@pytest.fixture(scope="session")
def address(page_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the page with the tiny pipeline answers."""
    with served(tmp_path_factory.mktemp("served"), page_home) as found:
        yield found


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording to upload."""
    path = tmp_path_factory.mktemp("recordings") / "my voice.wav"
    write_audio(path, voice_like(3.0, pitch=180.0), RATE)
    return path


@pytest.fixture(scope="module")
def browser(reference: Path) -> Iterator[Any]:
    """A headless browser whose microphone hears the reference. Closed behind each file, for Playwright holds the event loop."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="no driver for the browser: pip install playwright")
    arguments = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--mute-audio"]
    arguments += [f"--use-file-for-fake-audio-capture={reference}"]
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=found, args=arguments)
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Open the page, light or dark, in a window of its own; at the end nothing may have been fetched from elsewhere."""
    contexts, strange = [], []

    def watch(request: Any) -> None:
        if not request.url.startswith((address, "data:", "blob:")):
            strange.append(request.url)

    def begin(look: str = "light", width: int = WIDTH) -> Any:
        context = browser.new_context(
            color_scheme=look, viewport={"width": width, "height": HEIGHT}, permissions=["microphone"], accept_downloads=True
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(90_000)
        page.on("request", watch)
        page.goto(address)
        page.locator("#speak").wait_for()
        return page

    yield begin
    for context in contexts:
        context.close()
    assert strange == []


@pytest.fixture(scope="session")
def shots(repository: Path) -> Path:
    """Where pictures of the page are left."""
    folder = repository / "runs" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
