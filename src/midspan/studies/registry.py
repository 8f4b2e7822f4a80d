"""Every study by the name of its preset, and who runs a study's config.

A study joins with one entry. Functions are named, not imported, so that asking for one study loads
no other.
"""

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any, NamedTuple

from midspan.errors import not_one_of
from midspan.frozen import FrozenConfig


class Study(NamedTuple):
    """A kind of study; functions are written ``module:name``.

    Attributes:
        config: The class of its configs; its ``labels`` are the models, as tables name them.
        run: From a config, a run folder and a command to a result with ``report`` and ``seconds``.
        presets: Functions that return configs, by name.
        forecast: From a config and a run folder to rows of what it would take. Of a study with
            parts it also takes the parts and a pilot's size.
        has_parts: Whether ``run`` also takes ``jobs`` and ``only``, and its result has ``missing``.
    """

    config: str
    run: str
    presets: Mapping[str, str]
    forecast: str
    has_parts: bool = False


_STUDY = "midspan.studies."
STUDIES = (
    Study(
        f"{_STUDY}paper.config:PaperConfig",
        f"{_STUDY}paper.run:run_paper",
        {name: f"{_STUDY}paper.presets:{name}" for name in ("paper", "organism", "organism2")},
        has_parts=True,
        forecast=f"{_STUDY}paper.forecast:forecast",
    ),
    Study(
        f"{_STUDY}redteam.config:RedteamConfig",
        f"{_STUDY}redteam.run:run_redteam",
        {
            name: f"{_STUDY}redteam.presets:{name.replace('-', '_')}"
            for name in (
                "organism-redteam",
                "organism-native",
                "organism-words",
                "organism-weights",
                "organism2-redteam",
            )
        },
        forecast=f"{_STUDY}paper.other_forecasts:of_redteam",
    ),
    Study(
        f"{_STUDY}organism.objectives.config:ObjectivesConfig",
        f"{_STUDY}organism.objectives.run:run_objectives",
        {
            name: f"{_STUDY}organism.objectives.presets:{name.replace('-', '_')}"
            for name in ("objectives", "recovery-alignment", "ablations", "samplers", "pieces")
        },
        forecast=f"{_STUDY}paper.other_forecasts:of_objectives",
    ),
    Study(
        f"{_STUDY}organism.demo.config:DemoConfig",
        f"{_STUDY}organism.demo.run:run_demo",
        {
            "demo": f"{_STUDY}organism.demo.presets:standard",
            "demo-full": f"{_STUDY}organism.demo.presets:full",
            "demo-smoke": f"{_STUDY}organism.demo.presets:smoke",
        },
        forecast=f"{_STUDY}paper.other_forecasts:of_demo",
    ),
)
PRESETS: Mapping[str, str] = {
    name: function for study in STUDIES for name, function in study.presets.items()
}


def preset_config(preset: str) -> FrozenConfig:
    """The config of a preset.

    Raises:
        MidspanError: There is no preset of this name.
    """
    if preset not in PRESETS:
        raise not_one_of("preset", preset, PRESETS)
    return resolve_name(PRESETS[preset])()


def config_class(preset: str) -> str:
    """The name of the class of a preset's config, which is not imported for it."""
    study = next(study for study in STUDIES if preset in study.presets)
    return study.config.partition(":")[2]


def study_of(config: Any) -> Study | None:
    """The study whose config this is; None where it is no study's."""
    name = f"{type(config).__module__}:{type(config).__qualname__}"
    return next((study for study in STUDIES if study.config == name), None)
