"""The tokenizer of a served model, read once, when tokens are first placed."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from midspan.engine.server import EndpointConfig
from midspan.errors import MidspanError

if TYPE_CHECKING:
    from midspan.models.tokenized import TokenizedModel


class ServedText:
    """A served model's text side; for many threads, one at a time.

    Args:
        config: The server.
    """

    def __init__(self, config: EndpointConfig) -> None:
        self._config = config
        self._model: TokenizedModel | None = None
        # Fast tokenizers are changed by encoding, and raise where another thread reads them then.
        self._lock = threading.RLock()

    @contextmanager
    def using(self) -> "Iterator[TokenizedModel]":
        """The tokenizer and what config.json says, for this thread alone.

        Raises:
            MidspanError: There is none.
        """
        with self._lock:
            if self._model is None:
                if self._config.text_source is None:
                    raise MidspanError(
                        f"{self._config.name}: tokens are placed by the model's tokenizer; name "
                        "its folder or hub id (servers: tokenizer)"
                    )
                from midspan.models.tokenized import load_text

                self._model = load_text(self._config.text_source)
            yield self._model
