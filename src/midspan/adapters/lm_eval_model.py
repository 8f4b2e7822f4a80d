"""The model ``midspan`` of lm-eval's own command line.

lm-eval loads no plug-ins, so this module must be imported before a model is looked up. It is where
a task file names it, or where the program is started as ``midspan-lm-eval``; see docs/lm-eval.md.
"""

from pathlib import Path
from typing import Any

from midspan.adapters.lm_eval import MidspanLM, Settings
from midspan.errors import MidspanError

try:
    from lm_eval.api.registry import register_model
except ImportError as error:
    raise MidspanError("lm-eval: not installed; pip install 'midspan[lm-eval]'") from error

_DEFAULT_BATCH = 32


@register_model("midspan")
class RegisteredLM(MidspanLM):
    """`MidspanLM` with arguments as ``--model_args`` has them.

    Args:
        pretrained: Any spec that `midspan.load` takes.
        batch_size: Rows that are decoded together; lm-eval's ``--batch_size``.
        max_batch_size: lm-eval's; there is no "auto" here.
        device: Where the model goes; lm-eval's ``--device``.
        draws: Monte-Carlo draws for answers of several tokens.
        seed: Of all draws.
        journal: Folder of a journal, from which the same command goes on.
        **decoding: Fields of a `DecodingConfig`, such as ``length=256,steps=128``.
    """

    def __init__(
        self,
        pretrained: str,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        device: str | None = None,
        **options: Any,
    ) -> None:
        from midspan.models import load

        rows = _rows(batch_size)
        own = {name: options.pop(name) for name in ("draws", "seed") if name in options}
        journal = options.pop("journal", None)
        if isinstance(options.get("rules"), str):
            options["rules"] = (options["rules"],)
        settings = Settings(options, batch_size=rows, **own)
        super().__init__(
            load(pretrained, device=_place(device)),
            settings,
            None if journal is None else Path(journal),
        )

    def get_model_info(self) -> dict[str, Any]:
        """What stands beside the results: the model, and how it was decoded."""
        return {
            "midspan_model": self.lm.name,
            "midspan_fingerprint": self.lm.fingerprint,
            "midspan_decoding": self.config.model_dump(mode="json"),
            "midspan_draws": self.settings.draws,
            "midspan_seed": self.settings.seed,
        }


def _rows(batch_size: int | str | None) -> int:
    if batch_size is None:
        return _DEFAULT_BATCH
    if not str(batch_size).isdecimal() or int(batch_size) < 1:
        raise MidspanError(f"lm-eval's --batch_size: must be a number of rows; got {batch_size!r}")
    return int(batch_size)


def _place(device: str | None) -> str | None:
    """lm-eval asks for "cuda:0" where nobody names a device: then midspan's own choice holds."""
    import torch

    from midspan.journal.ranks import this_rank

    if device == "cuda:0" and (this_rank().count > 1 or not torch.cuda.is_available()):
        return None
    return device


def main() -> None:
    """lm-eval's own command line, with this model known to it."""
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
