"""docs/rules.md: its table has every rule, and its code runs."""

import re
from pathlib import Path

import yaml

from midspan.decoding import list_rules
from midspan.studies.defences import read_defences

PAGE = (Path(__file__).parents[2] / "docs" / "rules.md").read_text("utf-8")


def test_the_table_has_every_rule_in_order():
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == list(list_rules())


def test_the_example_of_python_runs():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names = {}
    exec(code, names)
    assert [rule.rule for rule in names["answer"].settings.rules] == ["past_end", "order"]


def test_the_example_of_a_study_names_rules():
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    fields = yaml.safe_load(text)
    (rule,) = read_defences(fields["defences"])["gate"]
    assert (rule.rule, rule.threshold) == ("early_reject", 0.8)
