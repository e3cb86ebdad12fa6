"""T5 as a reader of descriptions: text to hidden vectors by a published encoder (Raffel et al., 2020); it is not trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from speechgen.core.errors import UserError

__all__ = ["Read", "T5Reader"]


@dataclass(frozen=True)
class Read:
    """What T5 makes of texts; of an empty text nothing is valid."""

    hidden: Tensor  # [B, W, E]
    valid: Tensor  # [B, W]


class T5Reader:
    """Reads with the encoder of a T5 that lies in a folder or in the hub's local cache; it is loaded when it first reads.

    Args:
        source: the folder, or the name in the cache. Nothing is fetched.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._loaded: tuple[Any, Any] | None = None

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> Read:
        """Return the hidden vectors of texts, padded to the longest.

        Raises:
            UserError: there is no such T5 here.
        """
        tokenizer, encoder = self._loaded = self._loaded or self._load()
        inputs = tokenizer(list(texts), return_tensors="pt", padding=True, truncation=True, max_length=512)
        written = torch.tensor([bool(text) for text in texts])
        hidden = encoder(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).last_hidden_state
        return Read(hidden.float(), inputs["attention_mask"].bool() & written[:, None])

    def _load(self) -> tuple[Any, Any]:
        from transformers import AutoTokenizer, T5EncoderModel
        from transformers.utils import logging

        logging.disable_progress_bar()  # it would be drawn into the output of whoever asked
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.source, local_files_only=True)
            encoder = T5EncoderModel.from_pretrained(self.source, local_files_only=True)
        except (OSError, ValueError) as error:
            raise UserError(
                f"this model reads descriptions with {self.source}, which is not here: fetch it once with "
                f"`huggingface-cli download {self.source}`, or give a folder that holds it"
            ) from error
        return tokenizer, encoder.eval()
