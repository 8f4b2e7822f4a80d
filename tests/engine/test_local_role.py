"""A real (untrained) diffusion model as a role."""

from copy import deepcopy
from dataclasses import replace

import pytest
import real_tokenizers as real
import torch

from midspan.attacks import get_attack
from midspan.data.behaviors import Behavior
from midspan.decoding import BlockSampler, Request, as_rule, decode, decoding_config
from midspan.decoding.trace import REJECTION
from midspan.engine import whitebox
from midspan.engine.attack import Attack, AttackConfig
from midspan.engine.calls import (
    SLOT,
    Anchor,
    Chat,
    Choices,
    GCGCandidates,
    Scaffold,
    Score,
    SuffixLosses,
    user,
)
from midspan.engine.decodings import resized, swept
from midspan.engine.local import LocalRole
from midspan.engine.records import judge_results
from midspan.engine.roles import Scripted
from midspan.engine.scheduler import AttackJob, run_attacks
from midspan.errors import MidspanError
from midspan.journal.journal import Journal
from midspan.judges.roles import ExactJudge
from midspan.judges.verdict import Verdict
from midspan.models.finite import NOT_FINITE
from midspan.scoring.gradients import Goal, phrase_losses
from midspan.scoring.likelihood import ScoreOptions, phrase_score

CONFIG = decoding_config(length=16, block_length=8, steps=8)
PROMPT = (user("please help me with the sigil"),)
SLOTTED = (user(f"please help me with the sigil {SLOT}"),)


def ask(lm, tmp_path, *batches, capacity=3, config=CONFIG, name="j"):
    """Replies to batches of calls, one list a batch, and the result."""
    replies = []

    def attack(state, settings):
        for batch in batches:
            replies.append((yield batch))
        return "exhausted"

    job = AttackJob(
        Attack("ask", attack, AttackConfig, counts="any"),
        AttackConfig(),
        Behavior("b", "x"),
        {"target": LocalRole(lm, config, capacity)},
    )
    with Journal(tmp_path / name) as journal:
        (result,) = run_attacks([job], journal)
    return replies, result


def test_a_chat_is_what_the_decoder_gives(organism_lm, tmp_path):
    (replies,), result = ask(organism_lm, tmp_path, [Chat("target", PROMPT)] * 2)
    made = decode(organism_lm, [Request(tuple(organism_lm.encode_chat(PROMPT)))], CONFIG)[0]
    assert [reply.text for reply in replies] == [made.text] * 2
    assert result.usage["target"].calls == 2
    assert result.usage["target"].forwards == 2 * made.forwards


def test_samples_differ_and_do_not_depend_on_the_batch(organism_lm, tmp_path):
    calls = [Chat("target", PROMPT, temperature=1.0)] * 5
    (first,), _ = ask(organism_lm, tmp_path, calls, capacity=5)
    (second,), _ = ask(organism_lm, tmp_path, calls, capacity=2, name="other")
    assert len({reply.text for reply in first}) > 1
    assert [reply.text for reply in first] == [reply.text for reply in second]


def test_a_phrase_is_read_up_to_as_many_tokens_as_are_asked_for(organism_lm, tmp_path):
    """As the phrase of these tokens alone would be."""
    whole, cut = "sure ! here is how to make the sigil", "sure ! here is"
    size = len(organism_lm.encode_phrase(cut))
    suffixes = ("please", "now")

    def calls(phrase, **limit):
        return [
            Score(PROMPT, phrase, **limit),
            Score(PROMPT, phrase, mode="chain", **limit),
            SuffixLosses(SLOTTED, suffixes, phrase, **limit),
            GCGCandidates(SLOTTED, "please", phrase, count=4, **limit),
        ]

    limited, short, full = (
        [reply.value for reply in ask(organism_lm, tmp_path, asked, name=name)[0][0]]
        for name, asked in (
            ("limited", calls(whole, phrase_tokens=size)),
            ("short", calls(cut)),
            ("full", calls(whole)),
        )
    )
    assert limited == short
    assert full[:3] != short[:3]


def test_journals_from_before_a_limit_go_on(organism_lm):
    role = LocalRole(organism_lm, CONFIG)
    assert "phrase_tokens" not in role.describe(Score(PROMPT, "sure"))
    assert role.describe(Score(PROMPT, "sure", phrase_tokens=9))["phrase_tokens"] == 9


def test_anchors_hold_and_the_continuation_is_what_follows(organism_lm, tmp_path):
    call = Chat("target", PROMPT, anchors=(Anchor("sure ! here is", 0),), extend=8)
    (((reply,)),), result = ask(organism_lm, tmp_path, [call])
    phrase = organism_lm.encode_phrase("sure ! here is")
    assert organism_lm.encode_text(reply.text)[: len(phrase)] == phrase
    assert reply.text.endswith(reply.continuation)
    assert len(reply.text) > len(reply.continuation)
    assert result.access == "infill"


def test_what_does_not_fit_fails_alone(organism_lm, tmp_path):
    long = Chat("target", (user("please " * 600),))
    outside = Chat("target", PROMPT, anchors=(Anchor("sure", 16),))
    unknown = Score(PROMPT, "xylophone")
    (replies,), _ = ask(organism_lm, tmp_path, [long, outside, unknown, Chat("target", PROMPT)])
    assert [reply.failure for reply in replies] == ["too_long", "too_long", "failed", None]
    assert "exceed" in replies[0].reason


def test_a_suffix_without_tokens_of_its_own_fails_alone(organism_lm, tmp_path):
    merged = GCGCandidates(SLOTTED, " ", "sure ! here", count=2, top_k=2)
    (replies,), result = ask(organism_lm, tmp_path, [merged, Chat("target", PROMPT)])
    assert [reply.failure for reply in replies] == ["failed", None]
    assert "has no tokens of its own" in replies[0].reason
    assert result.stop == "exhausted"


def test_choices_are_log_probabilities_in_the_holes_of_one_masked_canvas(organism_lm, tmp_path):
    lm, text = organism_lm, "the [1] of [2] ."
    candidates = (("loom", "awl"), ("two tin", "salt", "two tin salt"))
    other = (user("another , longer request of the guild"),)
    calls = [Choices(PROMPT, text, candidates), Choices(other, text, candidates)]
    (replies,), result = ask(lm, tmp_path, calls)
    mask = lm.tokens.mask
    for call, reply in zip(calls, replies, strict=True):
        canvas = [*lm.encode_text("the"), mask, *lm.encode_text("of"), mask, mask]
        canvas += [*lm.encode_text("."), *[mask] * 10]
        prompt = lm.encode_chat(call.messages)
        ids = torch.tensor([[*prompt, *canvas]])
        with torch.no_grad():
            logprob_LV = lm.logits(ids)[0, len(prompt) :].log_softmax(-1)
        two, tin, salt = lm.encode_text("two tin salt")
        pair = float(logprob_LV[3, two] + logprob_LV[4, tin]) / 2
        wanted = [
            [float(logprob_LV[1, lm.encode_text(word)[0]]) for word in candidates[0]],
            [pair, float(logprob_LV[3, salt]), pair],  # what is longer than the hole is cut
        ]
        assert [list(hole) for hole in reply.value] == [pytest.approx(w, abs=1e-4) for w in wanted]
    assert replies[0].value != replies[1].value
    assert (result.access, result.usage["target"].forwards) == ("logprobs", 2)
    journal = (tmp_path / "j").read_bytes()
    (again,), _ = ask(lm, tmp_path, calls)
    assert [r.value for r in again] == [r.value for r in replies]
    assert (tmp_path / "j").read_bytes() == journal


@pytest.mark.parametrize(
    ("text", "candidates", "reason"),
    [
        ("the [1]", ((),), "for each of the 1 holes"),
        ("the [1]", (("a",), ("b",)), "for each of the 1 holes"),
        ("the [16]", (("loom",),), "exceed the canvas of 16"),
        ("the xylophone [1]", (("loom",),), "vocabulary"),
    ],
)
def test_choices_that_cannot_be_read_fail_alone(organism_lm, tmp_path, text, candidates, reason):
    calls = [Choices(PROMPT, text, candidates), Choices(PROMPT, "the [1]", (("loom",),))]
    ((wrong, right),), _ = ask(organism_lm, tmp_path, calls)
    assert (wrong.failure, right.failure) == ("failed", None)
    assert reason in wrong.reason


def test_likelihoods_are_those_of_the_scoring_room(organism_lm, tmp_path):
    phrase = "sure ! here is"
    calls = [
        Score(PROMPT, phrase, start=2, top_k=3),
        Score((user("another , longer request of the guild"),), phrase, mode="chain"),
        Score(PROMPT, phrase, window=(1, 9)),
        Score(PROMPT, phrase, start=4, context=(Anchor("i am", 0),)),
    ]
    (replies,), result = ask(organism_lm, tmp_path, calls)
    lm, ids = organism_lm, organism_lm.encode_phrase(phrase)
    prompt, other = lm.encode_chat(PROMPT), lm.encode_chat(calls[1].messages)
    context = dict(enumerate(lm.encode_phrase("i am")))
    wanted = [
        phrase_score(lm, prompt, ids, 2, 16),
        phrase_score(lm, other, ids, 0, 16, ScoreOptions("chain")),
        max((phrase_score(lm, prompt, ids, k, 16) for k in range(1, 10)), key=lambda w: w.value),
        phrase_score(lm, prompt, ids, 4, 16, ScoreOptions(context=context)),
    ]
    values = [reply.value for reply in replies]
    assert [value.logprob for value in values] == pytest.approx([w.value for w in wanted], abs=1e-4)
    assert [value.start for value in values] == [w.start for w in wanted]
    assert result.usage["target"].forwards == sum(w.forwards for w in wanted)
    for token in values[0].tokens:
        best = [value for _, value in token.top]
        assert best == sorted(best, reverse=True) and len(best) == 3
        assert token.logprob <= best[0] + 1e-6
    assert result.access == "logprobs"


def test_a_gcg_step_proposes_texts_that_are_read_as_they_were_meant(organism_lm, tmp_path):
    call = GCGCandidates(SLOTTED, "please please please", "sure ! here", count=20, top_k=8)
    (((reply,)),), result = ask(organism_lm, tmp_path, [call])
    suffixes = reply.value
    assert 0 < len(suffixes) <= 20 and len(set(suffixes)) == len(suffixes)
    old = organism_lm.encode_text(call.suffix)
    for suffix in suffixes:
        new = organism_lm.encode_text(suffix)
        assert len(new) == len(old)
        assert sum(a != b for a, b in zip(old, new, strict=True)) == 1
    assert result.access == "white-box"

    (((scored,)),), _ = ask(organism_lm, tmp_path, [SuffixLosses(SLOTTED, suffixes, call.phrase)])
    goal = Goal(tuple(organism_lm.encode_phrase(call.phrase)), 0, 16)
    for suffix, loss in list(zip(suffixes, scored.value, strict=True))[:3]:
        prompt = organism_lm.encode_chat([user(SLOTTED[0]["content"].replace(SLOT, suffix))])
        assert loss == pytest.approx(float(phrase_losses(organism_lm, [prompt], [goal])), abs=1e-5)


@pytest.mark.parametrize(("top_k", "replace", "most"), [(1, 1, 3), (2, 1, 6), (1, 3, 1)])
def test_a_gcg_step_takes_so_many_words_for_so_many_places(
    organism_lm, tmp_path, top_k, replace, most
):
    suffix = "please please please"
    call = GCGCandidates(SLOTTED, suffix, "sure ! here", count=64, top_k=top_k, replace=replace)
    (((reply,)),), _ = ask(organism_lm, tmp_path, [call])
    assert 0 < len(reply.value) <= most


def test_a_second_run_asks_nobody_and_gives_the_same(organism_lm, tmp_path, monkeypatch):
    batches = [
        [Chat("target", PROMPT, temperature=1.0)] * 2,
        [Score(PROMPT, "sure", top_k=2), SuffixLosses(SLOTTED, ("please", "help"), "sure")],
    ]
    first = ask(organism_lm, tmp_path, *batches)
    monkeypatch.setattr(LocalRole, "answer", None)
    assert ask(organism_lm, tmp_path, *batches) == first


@pytest.mark.parametrize(("wanted", "length", "steps"), [(16, 16, 8), (17, 24, 12), (3, 8, 4)])
def test_canvases_are_resized_in_whole_blocks(wanted, length, steps):
    config = resized(CONFIG, wanted)
    assert (config.length, config.steps) == (length, steps)
    decoding_config(**config.model_dump())
    whole = resized(decoding_config(length=16, steps=8), wanted)
    assert (whole.length, whole.steps) == (wanted, -(-wanted // 2))


def test_phrases_have_the_form_of_their_place(tmp_path):
    lm = real.lm("llada")
    phrase = "the next step is"
    plain, spaced = lm.encode_text(phrase), lm.encode_text(f" {phrase}")
    newline = lm.encode_text("\n")[0]
    for changes, context, ids in (
        ({}, {}, plain),
        ({"start": 4}, {}, spaced),
        ({"start": 4}, {3: newline}, plain),
        ({"window": (0, 8)}, {}, spaced),
        ({"window": (0, 0)}, {}, plain),
        ({"start": 4, "mode": "chain"}, {}, spaced),
    ):
        rows = whitebox.readings(lm, Score(PROMPT, phrase, **changes), (0,), context, 16)
        assert [token for row in rows for token in row.token_ids] == ids
    (((reply,)),), _ = ask(lm, tmp_path, [Chat("target", PROMPT, anchors=(Anchor(phrase, 4),))])
    assert f" {phrase}" in reply.text


def test_a_canvas_has_room_for_the_form_that_is_placed():
    lm = real.lm("llada")
    phrase = "zebra"
    placed = lm.encode_phrase(phrase, 4)
    assert len(placed) > len(lm.encode_phrase(phrase))
    role = LocalRole(lm, decoding_config(lm, length=16, block_length=None, steps=8))
    call = Chat("target", PROMPT, anchors=(Anchor(phrase, 4),), extend=3)
    assert role.describe(call)["decoding"]["length"] == 4 + len(placed) + 3


@pytest.mark.parametrize(
    ("said", "answer", "thoughts"),
    [
        ("<think>how?</think>\n\nsure, here", "sure, here", "how?"),
        ("<think>how? and then", "", "how? and then"),
        ("sure, here", "sure, here", ""),
    ],
)
def test_attacks_and_judges_read_the_answer_and_records_keep_the_thoughts(
    tmp_path, monkeypatch, said, answer, thoughts
):
    lm = real.lm("sdar")
    ids = [*lm.encode_marked(said), lm.tokens.eos]
    config = decoding_config(lm, length=32, steps=32, block_length=4)
    role = LocalRole(lm, config, 2)
    monkeypatch.setattr(
        role._canvases,
        "request",
        lambda call, seed: Request((0, 1, 2, 3), dict(enumerate(ids)), seed),
    )
    read = []

    def judge(behavior, response):
        read.append(response)
        return Verdict(score=1)

    def attack(state, settings):
        call = Chat("target", PROMPT)
        (reply,) = yield [call]
        assert (reply.text, reply.thoughts) == (answer, thoughts)
        state.note(call, reply)
        return "exhausted"

    job = AttackJob(
        Attack("ask", attack, AttackConfig, counts="any"),
        AttackConfig(),
        Behavior("b", "x"),
        {"target": role},
    )
    for _ in range(2):  # the second time from the journal
        with Journal(tmp_path / "j") as journal:
            results = run_attacks([job], journal)
            (result,) = judge_results([job], results, {"judge": ExactJudge(judge, "j")}, journal)
        (attempt,) = result.record()["attempts"]
        assert attempt["response"] == answer
        assert attempt.get("thoughts", "") == thoughts
        assert ("thoughts" in attempt) == bool(thoughts)
    assert set(read) == {answer}


def test_a_spread_model_is_not_moved(organism_lm):
    organism_lm.model.hf_device_map = {"model": 0, "lm_head": 1}
    role = LocalRole(organism_lm, decoding_config(organism_lm), device="cpu")
    with pytest.raises(MidspanError, match="device: .* is spread by device_map"):
        role.load()


def test_rules_of_a_call_are_the_decoders(organism_lm, tmp_path):
    rule = as_rule({"rule": "ban", "end": True})
    calls = [Chat("target", PROMPT, rules=(rule,)), Chat("target", PROMPT)]
    (replies,), result = ask(organism_lm, tmp_path, calls)
    prompt = tuple(organism_lm.encode_chat(PROMPT))
    made = decode(organism_lm, [Request(prompt, rules=(rule,)), Request(prompt)], CONFIG)
    assert [reply.text for reply in replies] == [generation.text for generation in made]
    assert result.access == "sampler"


def test_a_role_behind_a_defence_reads_the_guarded_prompt(organism_lm, tmp_path):
    reminder = as_rule({"rule": "self_reminder", "before": "please", "after": "help"})
    guarded = CONFIG.model_copy(update={"rules": (reminder,)})
    (((reply,)),), result = ask(organism_lm, tmp_path, [Chat("target", PROMPT)], config=guarded)
    prompt = organism_lm.encode_chat([user("please\nplease help me with the sigil\nhelp")])
    assert reply.text == decode(organism_lm, [Request(tuple(prompt))], CONFIG)[0].text
    assert result.access == "chat"
    (((score,)),), _ = ask(
        organism_lm, tmp_path, [Score(PROMPT, "sure !")], config=guarded, name="guarded"
    )
    (((plain,)),), _ = ask(organism_lm, tmp_path, [Score(PROMPT, "sure !")], name="plain")
    assert score.value != plain.value


@pytest.fixture
def spoiled_lm(organism_lm):
    """The organism, which reads one word as a number that is none."""
    lm = replace(organism_lm, model=deepcopy(organism_lm.model), fingerprint="spoiled")
    (word,) = lm.encode_text("sigil")[-1:]
    with torch.no_grad():
        lm.model.get_input_embeddings().weight[word] = float("nan")
    return lm


def test_a_request_whose_logits_are_not_finite_fails_alone(organism_lm, spoiled_lm, tmp_path):
    calls = [Chat("target", (user("hello"),)), Chat("target", PROMPT)]
    (found,), result = ask(spoiled_lm, tmp_path, calls)
    ((sound, _),), _ = ask(organism_lm, tmp_path, calls, name="sound")
    assert (found[0].text, found[0].failure) == (sound.text, None)
    assert (found[1].text, found[1].failure) == ("", "failed")
    assert found[1].reason == NOT_FINITE
    assert [part.reason for part in result.lost] == [NOT_FINITE]


READINGS = {
    "score": lambda turns: Score(turns, "sure !"),
    "choices": lambda turns: Choices(turns, "the [1]", (("loom", "barrel"),)),
    "losses": lambda turns: SuffixLosses(slotted(turns), ("please",), "sure !"),
    "candidates": lambda turns: GCGCandidates(slotted(turns), "please", "sure !"),
}


def slotted(turns):
    return (user(f"{turns[0]['content']} {SLOT}"),)


@pytest.mark.parametrize("kind", READINGS)
def test_what_is_read_from_broken_logits_fails_alone(spoiled_lm, tmp_path, kind):
    calls = [READINGS[kind](turns) for turns in ((user("hello"),), PROMPT)]
    ((sound, broken),), _ = ask(spoiled_lm, tmp_path, calls)
    assert sound.failure is None
    assert (broken.failure, broken.reason) == ("failed", NOT_FINITE)


def test_an_attack_on_broken_weights_has_no_outcome(spoiled_lm, tmp_path):
    """Neither won nor lost: an empty answer would pass for a refusal."""
    direct, behavior = get_attack("direct"), Behavior("b", PROMPT[0]["content"])
    job = AttackJob(direct, direct.config(), behavior, {"target": LocalRole(spoiled_lm, CONFIG)})
    lost = ExactJudge(lambda _, response: Verdict(score=1), "lost")
    with Journal(tmp_path / "j") as journal:
        results = run_attacks([job], journal)
        (result,) = judge_results([job], results, {"judge": lost}, journal)
    record = result.record()
    assert record["outcome"] == {"judge": "did not run"}
    assert record["reason"] == f"target: {NOT_FINITE}"


def test_a_rejection_is_a_refusal_that_names_its_monitor(organism_lm, tmp_path):
    reject = as_rule({"rule": "early_reject", "threshold": 1e-9})
    guarded = CONFIG.model_copy(update={"rules": (reject,)})
    (((reply,)),), _ = ask(organism_lm, tmp_path, [Chat("target", PROMPT)], config=guarded)
    assert (reply.text, reply.rejected_by) == (REJECTION, "early_reject")
    (((again,)),), _ = ask(organism_lm, tmp_path, [Chat("target", PROMPT)], config=guarded)
    assert again == reply


def test_a_scaffold_in_the_response_is_anchors_and_holes(organism_lm, tmp_path):
    call = Chat("target", PROMPT, scaffold=Scaffold("sure ! [3] the sigil [1]"), extend=2)
    (((reply,)),), result = ask(organism_lm, tmp_path, [call])
    words = reply.text.split()
    assert words[0] == "sure!"
    assert "the sigil" in reply.text
    assert result.access == "infill"
    longer = Chat("target", PROMPT, scaffold=Scaffold("sure ! [3] the sigil [1]"))
    (((other,)),), _ = ask(organism_lm, tmp_path, [longer], name="whole")
    assert other.text.startswith("sure!")


def test_a_scaffold_in_the_users_turn_is_filled_there(organism_lm, tmp_path):
    call = Chat("target", PROMPT, scaffold=Scaffold(" the [4] and the [2] .", "user"))
    response = Chat("target", PROMPT, scaffold=Scaffold(" the [4] and the [2] .", "user", 6))
    (replies,), result = ask(organism_lm, tmp_path, [call, response, Chat("target", PROMPT)])
    assert [reply.ok for reply in replies] == [True] * 3
    assert replies[0].text.startswith("the ")
    assert " and the" in replies[0].text
    assert "sigil help" not in replies[0].text
    assert result.usage["target"].forwards >= 6
    assert result.access == "infill"


def test_a_journal_without_rules_goes_on(organism_lm):
    role = LocalRole(organism_lm, CONFIG)
    assert set(role.describe(Chat("target", PROMPT))) == {"messages", "anchors", "decoding"}
    plain = Scripted(lambda call, rng: "", "x").describe(Chat("target", PROMPT))
    assert not {"rules", "scaffold"} & set(plain)
    rule = as_rule("past_end")
    ruled = Chat("target", PROMPT, rules=(rule,), scaffold=Scaffold("[1]"))
    assert role.describe(ruled)["rules"] == [{"rule": "past_end"}]
    assert Scripted(lambda call, rng: "", "x").describe(ruled)["rules"] == [{"rule": "past_end"}]


def test_a_calls_own_decoding_is_the_configs_with_it(organism_lm, tmp_path):
    plain = Chat("target", PROMPT)
    ways = {
        (("block_length", None),): CONFIG.model_copy(update={"block_length": None}),
        (("length", 2.0), ("steps", 2.0)): CONFIG.model_copy(update={"length": 32, "steps": 16}),
        (("length", 0.5), ("steps", 0.5)): CONFIG.model_copy(update={"length": 8, "steps": 4}),
        (("steps", 0.3),): CONFIG.model_copy(update={"steps": 2}),
    }
    calls = [replace(plain, decoding=way) for way in ways]
    (replies,), result = ask(organism_lm, tmp_path, calls)
    prompt = tuple(organism_lm.encode_chat(PROMPT))
    for reply, config in zip(replies, ways.values(), strict=True):
        assert reply.text == decode(organism_lm, [Request(prompt)], config)[0].text
    assert result.access == "sampler"


def test_a_decoding_that_cannot_be_fails_alone(organism_lm, tmp_path):
    wrong = [(("blocks", 3),), (("temperature", -1.0),)]
    calls = [Chat("target", PROMPT, decoding=way) for way in (*wrong, ())]
    (replies,), _ = ask(organism_lm, tmp_path, calls)
    assert [reply.failure for reply in replies] == ["failed", "failed", None], replies[2]
    assert "must be one of" in replies[0].reason
    assert "temperature" in replies[1].reason


def test_what_a_sampler_does_not_vary_stays():
    dream = decoding_config(sampler="dream", length=16, steps=8)
    assert swept(dream, (("block_length", 4),)) == dream
    block = BlockSampler(length=16, block_length=4, steps=16)
    assert swept(block, (("block_length", 8), ("steps", 0.5))).steps == 8
