"""Made f5_text.json: English as the front end of the published E2 and F5 writes it, when their training text was made.

SWivid/F5-TTS at 3eecd94 (2025-11-27), the last commit whose `convert_char_to_pinyin` cuts with jieba. The next one cuts with
rjieba, which keeps well-known in one piece and so writes it without spaces; no published weights learned that.

git clone https://github.com/SWivid/F5-TTS && git -C F5-TTS checkout 3eecd94
pip install jieba==0.42.1 pypinyin==0.55.0
python make_f5_text.py F5-TTS/src/f5_tts/model/utils.py
"""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import jieba
from pypinyin import Style, lazy_pinyin

COMMIT = "SWivid/F5-TTS 3eecd94baa74fa1eea44ba36f000b9e8d0b163f9, jieba 0.42.1"
TEXTS = (
    "Hello, world; this is it.",
    "Wait... what?",
    "(Hello) there, [you] {too}!",
    "A well-known, state-of-the-art idea",
    "The U.S.A. in 1984, e.g. 3.14% off",
    "It's 'quoted' \"text\", isn't it?",
    "“Quote” ‘it’s’; so",
    "One--two -- three---four",
    "C++ and AT&T, not R&D or C#",
    "http://www.x.com/a_b?c=1&d=2",
    "$50 & 60%, 3,000 or 10:30",
    "No.5 costs 1.2.3 of v2.0-rc1",
    "me@home.org writes #tag *bold*",
    "Café, naïve…and em—dash",
    "50%%off !!wow!! ?!what",
    "I am, A b",
)


def main() -> None:
    """Write the file beside this script: only the function is taken from the file that is given, for it imports much else."""
    tree = ast.parse(Path(sys.argv[1]).read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if getattr(node, "name", "") == "convert_char_to_pinyin"]
    names = {"jieba": jieba, "Style": Style, "lazy_pinyin": lazy_pinyin}
    exec(compile(tree, sys.argv[1], "exec"), names)
    made = {text: "".join(names["convert_char_to_pinyin"]([text])[0]) for text in TEXTS}
    content = json.dumps({"made by": COMMIT, "texts": made}, indent=1, ensure_ascii=False)
    Path(__file__).with_name("f5_text.json").write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
