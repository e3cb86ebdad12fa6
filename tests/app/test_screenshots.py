"""The pictures of the README, taken of the bundled voice: `pytest -m slow tests/app/test_screenshots.py` makes them anew."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from tests.app.conftest import served

MOST_BYTES = 150_000
WIDTH = 1040


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.timeout(900)
def test_pictures_for_the_readme_are_taken(browser: Any, repository: Path, tmp_path: Path):
    with served(tmp_path, tmp_path / "home") as address:
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.set_default_timeout(120_000)
        page.goto(address)
        for _ in range(2):  # the second time, the models are there
            page.locator("#speak").click()
            page.locator(".figures-grid").wait_for(state="hidden")
            page.locator(".figures-grid").wait_for()
            page.locator(".picture img").wait_for()
        keep(page, repository, "speak")
        page.get_by_role("tab", name="Compare", exact=True).click()
        page.locator("#look-switch").click()
        page.locator("#compare").click()
        page.locator(".job:visible", has_text="Done, all").first.wait_for()
        keep(page, repository, "compare")


def keep(page: Any, repository: Path, name: str) -> None:
    """Keep a small picture of the page."""
    from PIL import Image

    page.mouse.move(4, 4)
    page.wait_for_timeout(4000)  # players draw their waveforms
    image = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    path = repository / "app" / "screenshots" / f"{name}.webp"
    path.parent.mkdir(exist_ok=True)
    image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS).save(path, quality=82, method=6)
    assert path.stat().st_size < MOST_BYTES
