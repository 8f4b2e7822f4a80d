"""What the server answers is what the same request is answered offline, whatever runs beside it."""

import asyncio
import dataclasses

import pytest
import torch
from served import ASK, chat, events, serving, told

import midspan
from midspan.decoding import Request, decode, decoding_config
from midspan.models import load
from midspan.models.sharing import load_sharing

LONG = " ".join([ASK] * 4)


@pytest.fixture
def models(organism_lm, organism_folder):
    other = load(organism_folder, device="cpu")
    torch.manual_seed(1)
    torch.nn.init.normal_(other.model.lm_head.weight, std=0.3)
    return {
        "tiny": dataclasses.replace(organism_lm, name="tiny"),
        "other": dataclasses.replace(other, name="other"),
    }


# Fields of a request, and of `midspan.generate`.
CASES = [
    ({"max_tokens": 16}, {"length": 16}),
    ({"max_tokens": 16, "seed": 5, "temperature": 1.0}, {"length": 16, "seed": 5, "temperature": 1.0}),
    ({"max_tokens": 16, "midspan": {"steps": 4}}, {"length": 16, "steps": 4}),
    (
        {"max_tokens": 16, "midspan": {"steps": 8, "block_length": 4}},
        {"length": 16, "steps": 8, "block_length": 4},
    ),
    (
        {"max_tokens": 24, "midspan": {"anchors": [{"position": 3, "text": "the lantern"}]}},
        {"length": 24, "anchors": {3: "the lantern"}},
    ),
    (
        {"max_tokens": 16, "midspan": {"rules": [{"rule": "order", "by": "left"}]}},
        {"length": 16, "rules": [{"rule": "order", "by": "left"}]},
    ),
    (
        {"max_tokens": 8, "midspan": {"rules": [{"rule": "smoothllm", "count": 3}]}},
        {"length": 8, "rules": [{"rule": "smoothllm", "count": 3}]},
    ),
    (
        {"max_tokens": 16, "midspan": {"rules": [{"rule": "early_reject", "threshold": 1e-9}]}},
        {"length": 16, "rules": [{"rule": "early_reject", "threshold": 1e-9}]},
    ),
    (
        {"max_tokens": 16, "midspan": {"decoding": {"cache": "dual"}, "block_length": 8}},
        {"length": 16, "cache": "dual", "block_length": 8},
    ),
    ({"max_tokens": 12, "midspan": {"sampler": "dream"}, "top_p": 0.9, "temperature": 0.7},
     {"length": 12, "sampler": "dream", "top_p": 0.9, "temperature": 0.7}),
]  # fmt: skip
PLACES = ((ASK, "tiny"), (LONG, "other"))
ASKED = [(text, model, *case) for case in CASES for text, model in PLACES]


def body(text, model, fields, **more):
    return chat(
        text, model, **{**fields, **more, "midspan": {**fields.get("midspan", {}), "trace": True}}
    )


def test_answers_in_full_batches(models):
    """Whole and streamed, of two models under all configs, at once in batches of three."""

    async def ask_all():
        async with serving(models, batch_size=3) as (client, _):
            bodies = [
                body(text, model, fields, stream=is_streamed)
                for text, model, fields, _ in ASKED
                for is_streamed in (False, True)
            ]
            sent = (client.post("/v1/chat/completions", json=one) for one in bodies)
            answers = await asyncio.gather(*sent)
            return [one.json() for one in answers[::2]], [events(one.text) for one in answers[1::2]]

    pieces = 0
    for (text, model, _, offline), whole, stream in zip(
        ASKED, *asyncio.run(ask_all()), strict=True
    ):
        wanted = midspan.generate(models[model], text, progress=False, **offline)
        check_whole(whole, wanted)
        assert told(stream) == wanted.text
        assert stream[-1]["midspan"] == whole["midspan"]
        assert stream[-1]["choices"][0]["midspan"] == whole["choices"][0]["midspan"]
        ends = [one["choices"][0]["finish_reason"] for one in stream]
        assert not any(ends[:-1]) and ends[-1] == whole["choices"][0]["finish_reason"]
        pieces += len(stream)
    assert pieces > 5 * len(ASKED)


def check_whole(answer, wanted):
    choice, own = answer["choices"][0], answer["midspan"]
    assert choice["message"]["content"] == wanted.text
    assert choice["midspan"]["tokens"] == list(wanted.tokens)
    assert own["settings"] == wanted.settings.model_dump(mode="json")
    assert (own["forwards"], own["rejected_by"]) == (wanted.forwards, wanted.rejected_by)
    trace, told_trace = wanted.trace.to_dict(), choice["midspan"]["trace"]
    for name in ("position", "token", "step"):
        assert told_trace[name] == trace[name]
    assert told_trace["confidence"] == pytest.approx(trace["confidence"], abs=1e-5)


def test_frames_add_up_to_the_canvas(models):
    plain = {"temperature": 1.0, "length": 16, "progress": False}

    async def ask_all():
        async with serving(models) as (client, _):
            own = {"frames": True, "trace": True, "anchors": [{"position": 2, "text": "lantern"}]}
            said = midspan.generate(models["tiny"], ASK, anchors={2: "lantern"}, **plain)
            rewrite = [{"rule": "rewrite", "markers": [said.text.split()[0]], "everything": True}]
            sent = (
                client.post("/v1/chat/completions", json=chat(
                    midspan={**own, "rules": rules}, max_tokens=16, stream=True, n=2, temperature=1))
                for rules in ([], rewrite)
            )  # fmt: skip
            return [events(answer.text) for answer in await asyncio.gather(*sent)]

    reopened = 0
    for objects in asyncio.run(ask_all()):
        finals = {c["index"]: c for one in objects for c in one["choices"] if c["finish_reason"]}
        assert sorted(finals) == [0, 1]
        for index, final in finals.items():
            frames = [
                one["midspan"]["frame"] for one in objects if "frame" in one.get("midspan", {})
            ]
            frames = [frame for frame in frames if frame["choice"] == index]
            assert [frame["step"] for frame in frames] == list(range(-1, len(frames) - 1))
            assert frames[0]["p_eos"] is None and frames[0]["commits"][0]["confidence"] == 1
            assert all(0 <= frame["p_eos"] <= 1 for frame in frames[1:])
            mask = models["tiny"].tokens.mask
            canvas = [mask] * 16
            for frame in frames:
                reopened += len(frame["reopened"])
                for position in frame["reopened"]:
                    canvas[position] = mask
                for commit in frame["commits"]:
                    canvas[commit["position"]] = commit["token"]
            assert canvas == final["midspan"]["tokens"]
    assert reopened


def test_choices_have_seeds_of_their_own(models):
    async def ask():
        async with serving(models) as (client, _):
            sent = chat(n=3, seed=7, temperature=1.0, max_tokens=12)
            return (await client.post("/v1/chat/completions", json=sent)).json()

    answer = asyncio.run(ask())
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    wanted = midspan.generate(
        models["tiny"], [ASK] * 3, seed=7, temperature=1.0, length=12, progress=False
    )
    assert texts == [one.text for one in wanted] and len(set(texts)) > 1
    assert answer["usage"]["midspan"]["forwards"] == sum(one.forwards for one in wanted)


@pytest.mark.parametrize("is_streamed", [False, True])
def test_an_answer_ends_at_a_stop_text_and_at_its_limit(models, is_streamed):
    lm = models["tiny"]
    whole = midspan.generate(lm, ASK, length=32, progress=False)
    stop = whole.text[len(whole.text) // 2 :][:3]

    async def ask(**fields):
        async with serving(models) as (client, _):
            sent = chat(**fields, stream=is_streamed)
            answer = await client.post("/v1/chat/completions", json=sent)
            if is_streamed:
                objects = events(answer.text)
                return told(objects), objects[-1]["choices"][0]["finish_reason"], None
            answer = answer.json()
            choice = answer["choices"][0]
            return choice["message"]["content"], choice["finish_reason"], answer

    text, reason, answer = asyncio.run(ask(max_tokens=32, stop=[stop, "never said"]))
    assert (text, reason) == (whole.text[: whole.text.index(stop)], "stop")
    if answer:
        assert answer["usage"]["completion_tokens"] <= 32
    # The canvas is two blocks of the family's 32 tokens; the answer has what was asked for.
    text, reason, answer = asyncio.run(ask(max_tokens=33))
    both = midspan.generate(lm, ASK, length=64, progress=False)
    ends = next((i for i, t in enumerate(both.tokens) if t in lm.tokens.stop), 64)
    assert text == lm.decode_text(both.tokens[:33])
    assert reason == ("length" if ends > 33 else "stop")


def test_raw_text_and_ids_are_completed_without_the_chat_format(models):
    lm = models["tiny"]
    ids = lm.encode_text("the lantern is")
    mask = str(lm.tokenizer.convert_ids_to_tokens(lm.tokens.mask))

    async def ask():
        async with serving(models) as (client, _):
            answers = []
            for prompt in ("the lantern is", ids, [ids, ids[:2]], f"say {mask}"):
                sent = {"model": "tiny", "prompt": prompt, "max_tokens": 8}
                answers.append((await client.post("/v1/completions", json=sent)).json())
            return answers

    text, by_ids, two, masked = asyncio.run(ask())
    config = decoding_config(lm, length=8)
    prompts = [ids, ids[:2], lm.encode_text(f"say {mask}")]
    assert lm.tokens.mask not in prompts[2]
    wanted = [one.text for one in decode(lm, [Request(tuple(p)) for p in prompts], config)]
    assert text["choices"][0]["text"] == by_ids["choices"][0]["text"] == wanted[0]
    assert [choice["text"] for choice in two["choices"]] == wanted[:2]
    assert masked["choices"][0]["text"] == wanted[2]
    assert two["usage"]["prompt_tokens"] == len(ids) + 2


def test_adapters_share_the_weights_of_their_base():
    models = load_sharing(["organism", "organism:psa", "organism:mosa"], device="cpu")
    for name, lm in models.items():
        alone = load(name, device="cpu")
        assert (lm.fingerprint, lm.name) == (alone.fingerprint, name)
        ids_BT = torch.tensor([lm.encode_chat(ASK)])
        assert torch.equal(lm.logits(ids_BT), alone.logits(ids_BT))
    weights = [lm.base.get_input_embeddings().weight.data_ptr() for lm in models.values()]
    assert len(set(weights)) == 1
    assert len({lm.fingerprint for lm in models.values()}) == 3
