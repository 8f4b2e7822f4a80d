"""Options refuse a typo at once, with the nearest name; their lists are those of the registries."""

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from typer.main import get_command

from midspan.commands import app, choices
from midspan.commands.names import SET_FORMS
from midspan.commands.probe import PROBES
from midspan.errors import MidspanError

# A call for every option that takes a name or a file, with what its message must say. {run} is a
# folder with the files behaviors.csv and study.yaml, and {free} one that is not there.
TYPOS = {
    ("generate", "organsim", "-p", "x"): "did you mean organism?",
    ("generate", "organism:psaa", "-p", "x"): "did you mean psa?",
    ("generate", "organism2:helpfull", "-p", "x"): "did you mean helpful?",
    ("generate", "organism+{run}x", "-p", "x"): "there is no adapter folder {run}x",
    ("generate", "organism", "-p", "x", "--sampler", "lada"): "did you mean llada?",
    ("generate", "organism", "-p", "x", "--remasking", "margn"): "did you mean margin?",
    ("generate", "organism", "-p", "x", "--eos-policy", "modl"): "did you mean model?",
    ("generate", "organism", "-p", "x", "--cache", "dul"): "did you mean dual?",
    ("generate", "organism", "-p", "x", "--rule", "bann"): "did you mean ban?",
    ("generate", "organism", "-p", "x", "--rule", "{{rule: bann, end: true}}"): "mean ban?",
    ("generate", "organism", "-p", "x", "--config", "{run}/studi.yaml"): "{run}/study.yaml?",
    ("align", "organsim", "-o", "x"): "did you mean organism?",
    ("align", "organism", "-o", "x", "--objective", "moza"): "did you mean mosa?",
    ("align", "organism", "-o", "x", "--behaviors", "advbnch"): "did you mean advbench?",
    ("align", "organism", "-o", "x", "--benign", "{run}/behavior.csv"): "{run}/behaviors.csv?",
    ("align", "organism", "-o", "x", "--exclude", "harmbnch"): "did you mean harmbench?",
    ("align", "organism", "-o", "x", "--phrases", "{run}/no.json"): "there is no {run}/no.json",
    ("align", "organism", "-o", "x", "--reward", "exactt"): "did you mean exact?",
    ("align", "organism", "-o", "x", "--track", "wandbb"): "did you mean wandb?",
    ("align", "organism", "-o", "x", "--dtype", "bfloat"): "did you mean bfloat16?",
    ("align", "organism", "-o", "x", "--quantization", "4bits"): "did you mean 4bit?",
    ("align", "organism", "-o", "x", "--attn-implementation", "spda"): "did you mean sdpa?",
    ("align", "organism", "-o", "x", "--config", "{free}"): "--config: there is no {free}",
    ("align", "organism", "-o", "x", "--config", "{run}/kind.yaml"): "mean mosa?",
    ("align", "organism", "-o", "x", "--config", "{run}/field.yaml"): "mean learning_rate?",
    ("align", "owner/model", "-o", "x"): "--behaviors: give a file",
    ("align", "organism2", "-o", "x", "--behaviors", "organism:4"): "--behaviors: organism:4 is of "
    "the world of organism, and the model is of that of organism2; leave --behaviors out",
    ("align", "organism2:psa", "-o", "x", "--exclude", "organism2:4"): "--exclude: organism2:4 is "
    "asked by attacks and probes, and no alignment learns from it; leave --exclude out: organism2",
    ("align", "owner/model", "-o", "x", "--behaviors", "organism:4"): "learns from it; give a file",
    ("align", "organism", "-o", "x", "--num-prompts", "0"): "",
    ("study", "--config", "{run}/attack.yaml"): "adaptive.attacks.0.attack: must be one of",
    ("study", "--config", "{run}/recipe.yaml"): "MOSA-stable.objective.windw: there is no such",
    ("study", "--config", "{run}/judge.yaml"): "did you mean exact?",
    ("study", "--preset", "demo", "--config", "{run}/objectives.yaml"): "mean mosa?",
    ("study", "--preset", "organism-redteam", "--config", "{run}/sampler.yaml"): "mean llada?",
    ("study", "--pilot", "3"): "--pilot goes with --dry-run",
    ("generate", "organism", "-p", " "): "--prompt: is empty",
    ("generate", "organism", "-p", "x", "--rule", "{{rule: [ban"): "--rule is not YAML",
    ("merge", "organism", "-o", "x"): "write BASE+ADAPTER",
    ("organism", "inspect", "--item", "Aldfen"): "did you mean Aldfenn?",
    ("attack", "organsim", "--method", "tap"): "did you mean organism?",
    ("attack", "organism", "--method", "tapp"): "did you mean tap?",
    ("attack", "organism", "--replay", "{run}x"): "did you mean {run}?",
    ("attack", "organism", "--behaviors", "{run}/behavior.csv:4"): "{run}/behaviors.csv?",
    ("attack", "organism", "--behaviors", "organism:0"): "must be organism:N, with N of 1 or",
    ("attack", "organism2", "--behaviors", "organism2:held:3"): "must be organism2:N, organism2:"
    "held-out:N or organism2:held-in:N, with N of 1 or more",
    ("attack", "organism2", "--behaviors", "organism2:held-out:0"): "'organism2:held-out:0' must "
    "be organism2:N, organism2:held-out:N or organism2:held-in:N, with N of 1 or more",
    ("attack", "organism", "--behaviors", "organism3:4"): "must be organism:N, organism2:N, ",
    ("attack", "organism", "--judge", "strongrejct=openai:x"): "did you mean strongreject?",
    ("attack", "organism", "--judge", "harm=organsim"): "did you mean organism?",
    ("attack", "organism", "--judge", "pair=openai:x:rubric={free}"): "there is no {free}",
    ("attack", "organism", "--attacker", "organsim"): "--attacker: there is no folder organsim",
    ("attack", "organism", "--evaluator", "organsim"): "--evaluator: there is no folder",
    ("attack", "organism", "--translator", "organsim"): "--translator: there is no folder",
    ("attack", "organism", "--proxy", "organsim"): "--proxy: there is no folder organsim",
    ("attack", "organism", "--calibration", "exact={free}"): "--calibration: there is no {free}",
    ("attack", "organism", "--calibration", "exat={run}/study.yaml"): "did you mean exact?",
    ("attack", "organism", "--config", "{free}"): "there is no {free}",
    ("attack", "organism2", "--config", "{run}/broken.yaml"): "broken.yaml is not YAML: line 1",
    ("attack", "organism", "--decoding", "fasst"): "--decoding: must be fast or a file; there is",
    ("audit", "organism", "--decoding", "{run}/studi.yaml"): "did you mean {run}/study.yaml?",
    ("study", "--decoding", "{free}"): "there is no {free}",
    ("audit", "organsim"): "did you mean organism?",
    ("audit", "organism", "--tier", "quik"): "did you mean quick?",
    ("audit", "organism", "--defence", "self_remindr"): "did you mean self_reminder?",
    ("audit", "organism", "--fail-level", "infil"): "did you mean infill?",
    ("audit", "organism", "--behaviors", "{free}"): "there is no file {free}",
    ("audit", "organism", "--judge", "exat"): "did you mean exact?",
    ("audit", "organism", "--examples", "{free}"): "--examples: there is no file {free}",
    ("audit", "organism", "--benign", "{free}"): "--benign: there is no file {free}",
    ("audit", "organism", "--attacker", "organsim"): "--attacker: there is no folder",
    ("study", "--preset", "organsim"): "did you mean organism?",
    ("study", "--part", "prefil"): "did you mean prefill?",
    ("study", "--part", "prefil", "--dry-run"): "did you mean prefill?",
    ("study", "--preset", "demo", "--part", "prefill"): "demo is a study without parts",
    ("study", "--executor", "rai"): "did you mean ray?",
    ("attack", "organism", "--executor", "rai"): "did you mean ray?",
    ("audit", "organism", "--executor", "rai"): "did you mean ray?",
    ("study", "--config", "{free}"): "there is no {free}",
    ("task", "organsim", "--task", "gsm8k"): "did you mean organism?",
    ("task", "organism", "--task", "gsm8"): "did you mean gsm8k?",
    (
        "task",
        "organism",
        "--task",
        "choice",
        "--decoding",
        "fasst",
    ): "--decoding: must be fast or a file; there is",
    ("task", "organism", "--task", "gsm8k", "--preset", "llda"): "did you mean llada?",
    ("task", "organism", "--task", "gsm8k", "--data", "gsm=x"): "did you mean gsm8k?",
    ("task", "organism", "--task", "gsm8k", "--data", "gsm8k={free}"): "there is no {free}",
    ("task", "organism", "--task", "gsm8k", "--judge", "xstst=openai:x"): "did you mean xstest?",
    ("task", "organism with self_remind", "--task", "choice"): "did you mean self_reminder?",
    ("task", "organism", "--lm-eval", "x", "--include-path", "{free}"): "there is no {free}",
    ("serve", "organsim"): "did you mean organism?",
    ("serve", "organism", "--rule", "bann"): "did you mean ban?",
    ("serve", "organism", "--token-file", "{free}"): "there is no {free}",
    ("play", "organsim"): "did you mean organism?",
    ("merge", "organsim+{run}", "-o", "x"): "did you mean organism",
    ("data", "advbnch"): "did you mean advbench?",
    ("doctor", "--deep", "organsim"): "did you mean organism?",
    ("organism", "verify", "organsim"): "did you mean organism?",
    ("organism", "inspect", "--kind", "repeatt"): "did you mean repeat?",
    ("judge", "calibrate", "xstst=openai:x"): "did you mean xstest?",
    ("judge", "calibrate", "exact", "--items", "{free}"): "there is no {free}",
    ("judge", "calibrate", "exact", "--config", "{free}"): "there is no {free}",
    ("report", "{run}x"): "did you mean {run}?",
    ("compare", "{run}", "{run}x"): "did you mean {run}?",
    ("export", "{run}x", "--to", "inspect", "-o", "x"): "did you mean {run}?",
    ("export", "{run}", "--to", "inspekt", "-o", "x"): "did you mean inspect?",
    ("push", "{run}x", "--repo", "a/b"): "did you mean {run}?",
    ("push", "{run}", "--repo", "a/b", "--audit", "{free}"): "there is no {free}",
    ("probe", "ordr", "organism"): "",
    ("probe", "order", "organsim"): "did you mean organism?",
    ("probe", "order", "organism", "--request-kinds", "plan"): "did you mean plain?",
    ("probe", "order", "organism", "--behaviors", "advbnch"): "did you mean advbench?",
    ("probe", "order", "organism", "--benign", "{free}"): "--benign: there is no file {free}",
    ("probe", "order", "organism", "--config", "{free}"): "there is no {free}",
    ("probe", "monitors", "organism", "--monitors", "p_eso"): "did you mean p_eos?",
    ("probe", "monitors", "organism", "--conditions", "prefil"): "did you mean prefill?",
    ("probe", "monitors", "organism", "--mixed", "{free}"): "there is no file {free}",
    ("probe", "prefill", "organism", "--phrase-kinds", "neutrl"): "did you mean neutral?",
    ("probe", "window", "organism", "--phrase-kind", "procedral"): "did you mean procedural?",
    ("probe", "prefill", "organism", "--judge", "xstst"): "did you mean xstest?",
    ("probe", "prefill", "organism", "--phrases", "{free}"): "there is no {free}",
    ("probe", "fidelity", "organism", "--cache", "dul"): "did you mean dual?",
    ("probe", "fidelity", "organism", "--rule", "bann"): "did you mean ban?",
    ("probe", "fidelity", "organism", "--behaviors", "advbnch"): "did you mean advbench?",
}
# Options of texts, numbers and new files, which no list or folder can check.
FREE = {
    "column", "output", "prompt", "anchor", "json_file", "markdown", "lm_eval", "host", "device",
    "repo", "adapter", "name", "model", "attack", "item", "text", "page", "template", "initial",
}  # fmt: skip
REFUSED = """
import json, sys
from midspan.cli import main
from contextlib import redirect_stderr
from io import StringIO
said = []
for call in json.load(sys.stdin):
    sys.argv = ["midspan", *call]
    with redirect_stderr(StringIO()) as errors:
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    said.append([code, errors.getvalue(), "torch" in sys.modules])
    if said[-1][-1]:
        break
json.dump(said, sys.stdout)
"""


# Files of --config with a typo each, by name.
CONFIGS = {
    "kind": "objective: {kind: moza}",
    "field": "learning_rat: 0.1",
    "attack": "attacks: {adaptive: {attacks: [{attack: tapp}]}}",
    "recipe": "recipes: {MOSA-stable: {objective: {windw: [0, 9]}}}",
    "judge": "attacks: {adaptive: {judges: [exat]}}",
    "objectives": "objectives: [moza]",
    "sampler": "decoding: {sampler: lada}",
    "broken": '{"judges": ["exact"',
}


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    folder = tmp_path_factory.mktemp("places")
    run = folder / "run-one"
    run.mkdir()
    for name in ("behaviors.csv", "study.yaml"):
        (run / name).write_text("")
    for name, text in CONFIGS.items():
        (run / f"{name}.yaml").write_text(text)
    places = {"run": str(run), "free": str(folder / "zzz")}
    calls = [[word.format(**places) for word in call] for call in TYPOS]
    done = subprocess.run(
        [sys.executable, "-c", REFUSED],
        input=json.dumps(calls), capture_output=True, text=True, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    # The first call that loads torch ends the list.
    assert not said[-1][-1], calls[len(said) - 1]
    return {call: (*one[:2], places) for call, one in zip(TYPOS, said, strict=True)}


@pytest.mark.parametrize("call", TYPOS, ids=" ".join)
def test_a_typo_is_one_line_with_the_nearest_name_before_torch_loads(refused, call):
    code, said, places = refused[call]
    assert code == 2
    assert TYPOS[call].format(**places) in said
    if TYPOS[call]:
        assert said.startswith("midspan: ") and said.count("\n") == 1


def commands(command, name=()):
    if children := getattr(command, "commands", {}):
        for word, child in children.items():
            yield from commands(child, (*name, word))
    else:
        yield name, command


@pytest.mark.parametrize(
    ("name", "command"),
    [pytest.param(*one, id=" ".join(one[0])) for one in commands(get_command(app))],
)
def test_every_option_with_a_name_stands_in_the_table(name, command):
    # All probes have their options from one place.
    known = name[:1] if name[0] == "probe" else name
    table = [call for call in TYPOS if call[: len(known)] == known]
    for given in command.params:
        takes_text = given.type_descriptor.annotation in (str, Path, list[str])
        if not takes_text or given.name in FREE:
            continue
        is_named = given.param_type_name == "argument" or any(
            option in call for call in table for option in given.opts
        )
        shared = {"--evaluator", "--translator", "--proxy", "--config", "--judge", "--rule"}
        assert is_named or shared & set(given.opts), (name, given.opts)
    assert table or name in (("demo",), ("env",), ("organism", "train")), name


def test_lists_are_those_of_the_registries():
    from midspan.adapters.exports import FORMATS as EXPORTS
    from midspan.alignment import PRESETS
    from midspan.alignment.job import TRACKERS
    from midspan.attacks import list_attacks
    from midspan.decoding.config import SAMPLERS
    from midspan.decoding.sampler import Sampler
    from midspan.judges import FORMATS, PUBLISHED, RUBRICS
    from midspan.models import placement
    from midspan.organism.second.inspection import KINDS
    from midspan.organism.worlds import WORLDS, room
    from midspan.studies.audit.config import LEVELS
    from midspan.studies.audit.presets import TIERS
    from midspan.studies.probes import attacked
    from midspan.studies.redteam import roles
    from midspan.studies.registry import PRESETS as STUDIES
    from midspan.studies.registry import preset_config
    from midspan.studies.tasks.config import DATA_NAMES, TASK_NAMES

    def literals(config, field):
        return get_args(config.model_fields[field].annotation)

    assert tuple(sorted(list_attacks())) == choices.ATTACKS
    assert set(attacked.CONDITIONS) <= set(choices.CONDITIONS)
    for world, forms in SET_FORMS.items():
        splits = room(world, "behaviors").SPLITS
        assert set(forms) == {":".join(filter(None, (world, one, "N"))) for one in splits}
    assert tuple(SET_FORMS) == WORLDS
    assert set(choices.OBJECTIVES) == set(PRESETS)
    assert choices.TASKS == TASK_NAMES and choices.TASK_DATA == DATA_NAMES
    assert choices.TIERS == TIERS and choices.LEVELS == LEVELS
    assert tuple(STUDIES) == choices.STUDIES
    for preset, parts in choices.PARTS.items():
        config = preset_config(preset)
        assert set(parts) == {*config.trainings, *config.parts}
    assert set(choices.SAMPLERS) == set(SAMPLERS)
    assert literals(SAMPLERS["llada"], "cache") == choices.CACHES
    assert set(choices.REMASKING) == set(literals(Sampler, "remasking"))
    assert set(choices.EOS_POLICIES) == set(literals(Sampler, "eos_policy"))
    assert set(choices.DTYPES) == {"auto", *placement._DTYPES}
    assert get_args(placement.Quantization) == choices.QUANTIZATIONS
    assert tuple(placement._ATTENTION) == choices.ATTENTION
    assert ("none", *TRACKERS) == choices.TRACKERS
    assert tuple(roles._SIMPLE) == choices.PLAIN_JUDGES
    assert tuple(FORMATS) == choices.CLASSIFIERS
    assert tuple(RUBRICS) == choices.RUBRICS
    assert tuple(PUBLISHED) == choices.PUBLISHED_RUBRICS
    assert choices.SECOND_SAMPLES == KINDS
    assert tuple(EXPORTS) == choices.EXPORTS


def test_rules_are_those_that_decoding_finds():
    from midspan.decoding.rule import get_rule

    for name in choices.RULES:
        assert get_rule(name).model_fields["rule"].default == name


def test_request_kinds_and_task_presets_are_those_that_are_taken():
    kinds = {kind for probe in PROBES.values() for kind in probe.request_kinds}
    assert kinds <= set(choices.REQUEST_KINDS)


def test_help_lists_what_an_option_may_be():
    command = get_command(app)
    helps = {
        ("attack", "--method"): choices.ATTACKS,
        ("align", "--objective"): choices.OBJECTIVES,
        ("task", "--task"): choices.TASKS,
        ("study", "--preset"): choices.STUDIES,
        ("audit", "--tier"): choices.TIERS,
    }
    for (name, option), names in helps.items():
        (given,) = (one for one in command.commands[name].params if option in one.opts)
        assert all(one in given.help for one in names), (name, option)


def test_help_says_what_steps_are_of_the_second_organism():
    from midspan.organism.second.safety import SafetyConfig

    train = get_command(app).commands["organism"].commands["train"]
    (steps,) = (one for one in train.params if one.name == "steps")
    assert f"safety training, {SafetyConfig().groups} on a CPU, all run" in steps.help


def test_parts_of_seeds_that_a_file_adds_are_known():
    choices.check_parts("organism", ["utility-seed7", "PSA-seed7"], {"seeds": [7]})
    with pytest.raises(MidspanError, match="utility-seed8"):
        choices.check_parts("organism", ["utility-seed8"], {"seeds": [7]})
