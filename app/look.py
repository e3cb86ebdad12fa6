"""What the page looks like: one theme with a light and a dark side. Fonts are the system's: nothing is fetched."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from gradio.themes.utils.colors import Color

__all__ = ["css", "head", "theme"]

HERE = Path(__file__).resolve().parent

TEAL = Color(
    "#eefaf8", "#d3f1ec", "#a8e3da", "#7fd8cc", "#5fcfc2", "#1f8f88", "#0d6e6e", "#0a5757", "#084747", "#063636", "#032222",
    name="teal",
)  # fmt: skip
STONE = Color(
    "#fffdf9", "#f6f4ef", "#e9e4d9", "#d9d2c3", "#a9adb5", "#737b88", "#565e6c", "#3a4350", "#2b3440", "#1a2029", "#11151c",
    name="stone",
)  # fmt: skip


VALUES = {
    "body_background_fill": ("#f6f4ef", "#11151c"),
    "body_text_color": ("#1f2430", "#e8e6e1"),
    "body_text_color_subdued": ("#565e6c", "#a9b1be"),
    "background_fill_primary": ("#fffdf9", "#1a2029"),
    "background_fill_secondary": ("#f1ede4", "#151a22"),
    "block_background_fill": ("#fffdf9", "#1a2029"),
    "block_border_width": ("1px",),
    "block_border_color": ("#ddd6c8", "#2f3846"),
    "border_color_primary": ("#ddd6c8", "#2f3846"),
    "block_label_background_fill": ("#fffdf9", "#1a2029"),
    "block_label_text_color": ("#565e6c", "#a9b1be"),
    "block_label_border_width": ("0px",),
    "block_title_text_color": ("#1f2430", "#e8e6e1"),
    "block_title_text_weight": ("600",),
    "block_info_text_color": ("#565e6c", "#a9b1be"),
    "block_shadow": ("none",),
    "input_border_width": ("1px",),
    "input_background_fill": ("#ffffff", "#12171f"),
    "input_border_color": ("#cfc7b6", "#3a4555"),
    "input_border_color_focus": ("#0d6e6e", "#5fcfc2"),
    "input_placeholder_color": ("#737b88", "#8a93a1"),
    "button_primary_background_fill": ("#0d6e6e", "#5fcfc2"),
    "button_primary_background_fill_hover": ("#0a5757", "#7fd8cc"),
    "button_primary_text_color": ("#ffffff", "#06201f"),
    "button_secondary_background_fill": ("#ece7dc", "#2a3340"),
    "button_secondary_background_fill_hover": ("#e0d9ca", "#36414f"),
    "button_secondary_text_color": ("#1f2430", "#e8e6e1"),
    "slider_color": ("#0d6e6e", "#5fcfc2"),
    "checkbox_background_color_selected": ("#0d6e6e", "#1f8f88"),
    "checkbox_border_color": ("#8b8f98", "#66707f"),
    "link_text_color": ("#0d6e6e", "#5fcfc2"),
}
"""Of the theme's variables: by day, and by night if that differs."""


def theme() -> gr.themes.Base:
    """Warm paper and ink by day, slate by night, one green accent; text has a contrast of at least 4.5 to 1 on both."""
    base = gr.themes.Base(
        primary_hue=TEAL,
        secondary_hue=TEAL,
        neutral_hue=STONE,
        radius_size=gr.themes.sizes.radius_md,
        font=["Inter", "Segoe UI", "system-ui", "Noto Sans", "DejaVu Sans", "sans-serif"],
        font_mono=["ui-monospace", "SF Mono", "Consolas", "DejaVu Sans Mono", "monospace"],
    )
    light = {name: values[0] for name, values in VALUES.items()}
    dark = {f"{name}_dark": values[1] for name, values in VALUES.items() if len(values) > 1}
    return base.set(**light, **dark)


def css() -> str:
    """Rules that a theme has no name for."""
    return (HERE / "page.css").read_text(encoding="utf-8")


def head() -> str:
    """The script of the page: player of unfinished sound, keys, light and dark."""
    return f"<script>{(HERE / 'page.js').read_text(encoding='utf-8')}</script>"
