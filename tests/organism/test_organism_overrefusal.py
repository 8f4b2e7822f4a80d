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
