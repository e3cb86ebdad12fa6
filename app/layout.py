"""The page around its tabs: their list, the head of the page, what happens when a visitor comes and goes."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import gradio as gr

import speechgen
from speechgen.service.jobs import JobQueue

from .components import voice_names
from .work import Page

__all__ = ["assemble", "tabs"]

KEPT_SECONDS = 3600
"""How long uploads and results stay on the disk."""
VISITORS = 64
"""Requests of all visitors that may be answered or wait; the queue of jobs has its own bound."""
MASTHEAD = """<header id="masthead">
<svg class="mark" viewBox="0 0 42 42" fill="none" stroke="currentColor"
stroke-width="3.2" stroke-linecap="round" aria-hidden="true">
<path d="M4 21v0M10 15v12M16 8v26M22 13v16M28 4v34M34 14v14M39 21v0"/></svg>
<div><h1>speechgen</h1><p>A voice out of a text. Everything happens on this machine.</p></div>
<div class="right"><span><kbd>Ctrl</kbd> <kbd>Enter</kbd> begins, <kbd>Esc</kbd> stops</span><span>{version}</span>
<button id="look-switch" type="button" aria-label="Switch between the light and the dark look">Dark</button></div></header>"""


def tabs() -> list[Any]:
    """The modules of tabs/, in their order."""
    folder = importlib.import_module(".tabs", __package__)
    names = [found.name for found in pkgutil.iter_modules(folder.__path__)]
    return sorted((importlib.import_module(f".tabs.{name}", __package__) for name in names), key=lambda tab: tab.PLACE)


def assemble(queue: JobQueue) -> tuple[gr.Blocks, Page]:
    """Build the blocks, and what the tabs share."""
    page = Page(queue)
    with gr.Blocks(title="speechgen", analytics_enabled=False, delete_cache=(600, KEPT_SECONDS)) as blocks:
        gr.HTML(MASTHEAD.format(version=speechgen.__version__))
        page.voices_changed = gr.State(0)
        with gr.Tabs():
            for tab in tabs():
                with gr.Tab(tab.TITLE):
                    lacking = tab.missing() if hasattr(tab, "missing") else ""
                    if lacking:
                        gr.Markdown(lacking, elem_classes="note")
                    else:
                        tab.build(page)

        def voices() -> dict[Any, Any]:
            return {choice: gr.Dropdown(choices=voice_names()) for choice in page.voice_lists}

        def left(request: gr.Request) -> None:
            page.stop(str(request.session_hash))

        for event in (page.voices_changed.change, blocks.load):
            event(voices, None, page.voice_lists, show_progress="hidden", queue=False, api_visibility="private")
        blocks.unload(left)
    blocks.queue(max_size=VISITORS, default_concurrency_limit=8)
    return blocks, page
