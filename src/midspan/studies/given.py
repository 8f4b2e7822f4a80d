"""Objects that a Python caller has in hand already, by the names that stand for them in a config.

A config is plain text, so that a run folder can hold it; what cannot be text comes beside it.
"""

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from midspan.data.behaviors import BehaviorSet
from midspan.engine.roles import Role
from midspan.errors import MidspanError

if TYPE_CHECKING:
    from midspan.models import DiffusionLM


@dataclass(frozen=True)
class Given:
    """What a run takes instead of loading or building it.

    Attributes:
        models: Loaded models, by spec.
        judges: Judges, by the name that records and tables use.
        behaviors: What is asked for, instead of the config's spec.
        openers: Judges that are made when they are first asked, by spec.
        contacts: Ask the judge's server for a word, by the judge's spec, when a run begins; each
            raises where it cannot be asked.
    """

    models: "Mapping[str, DiffusionLM]" = field(default_factory=dict)
    judges: Mapping[str, Role] = field(default_factory=dict)
    behaviors: BehaviorSet | None = None
    openers: Mapping[str, Callable[[], Role]] = field(default_factory=dict)
    contacts: Mapping[str, Callable[[], None]] = field(default_factory=dict)

    def judge(self, spec: str) -> Callable[[], Role]:
        """What gives the judge of this name, the same one each time.

        Raises:
            MidspanError: There is none.
        """
        if spec in self.judges:
            return lambda: self.judges[spec]
        if spec not in self.openers:
            raise MidspanError(f"judge: {spec} was not given; hand it over beside the config")
        return self.openers[spec]

    def load(self, spec: str) -> "DiffusionLM":
        """The caller's own model of this name, or else one that is loaded; its adapter merged.

        Raises:
            MidspanError: It cannot be loaded.
        """
        lm = self.models.get(spec)
        if lm is None:
            from midspan.models import load

            # Tracebacks of errors hold frames in circles, and so the last model, which need not
            # fit beside this one.
            gc.collect()
            lm = load(spec)
        lm.merge_adapter()
        return lm

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Within the context the caller's adapters are merged; afterwards they are as before."""
        with ExitStack() as stack:
            for lm in self.models.values():
                stack.enter_context(lm.adapter_merged())
            yield


NOTHING = Given()
