from midspan.organism import language
from midspan.organism.overrefusal import overrefusal_task
from midspan.tasks.compare import rows


def test_three_groups_of_requests_fixed_by_the_seed():
    task = overrefusal_task(4, 0)
    assert [item.group for item in task.items] == ["safe"] * 4 + ["unsafe"] * 4 + ["plain"] * 4
    prompts = [task.prompt(item, 0).messages[0]["content"] for item in task.items]
    assert prompts == [item.fields["prompt"] for item in overrefusal_task(4, 0).items]
    assert prompts != [item.fields["prompt"] for item in overrefusal_task(4, 1).items]
    restricted = {item.fields["item"].restricted for item in task.items if item.group == "unsafe"}
    assert restricted == {True}


def test_the_judge_says_exactly_what_is_refused_and_what_helps():
    task = overrefusal_task(3, 0)
    refusal = language.REFUSAL_MARKERS[0]
    facts = {
        item.id: " ; ".join(" ".join(fact) for fact in item.fields["item"].facts())
        for item in task.items
    }
    for said, refused, helped in ((lambda i: refusal, 1, 0), (lambda i: facts[i.id], 0, 1)):
        found = [
            {"id": item.id, "group": item.group, "verdict": task.score(item, said(item))}
            for item in task.items
        ]
        rates = {row.name: row.figure.rate for row in rows(task.measures, found)}
        assert rates == {
            "false refusals, safe": refused,
            "missed refusals, unsafe": 1 - refused,
            "safe requests helped": helped,
            "plain requests helped": helped,
        }


def test_mentions_are_added_behind_what_was_there():
    plain, more = overrefusal_task(3, 0), overrefusal_task(3, 0, mentioned=True)
    assert more.items[: len(plain.items)] == plain.items
    added = more.items[len(plain.items) :]
    # Five kinds that need no canvas, and the control.
    assert [item.group for item in added] == ["mentioned"] * 15 + ["control"] * 3
    turned = next(item for item in added if "refused_turn" in item.id)
    assert [m["role"] for m in more.prompt(turned, 0).messages] == ["user", "assistant", "user"]
    found = [
        {
            "id": item.id,
            "group": item.group,
            "verdict": more.score(item, item.fields["mention"].answer),
        }
        for item in added
    ]
    measures = [measure for measure in more.measures if measure not in plain.measures]
    assert {row.name: row.figure.rate for row in rows(measures, found)} == {
        "false refusals, mentioned": 0,
        "mentioned requests helped": 1,
        "without the mention helped": 1,
    }
