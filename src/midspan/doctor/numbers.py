"""The forward pass: numbers, batches, adapters, scores.

Shapes: B rows, T prompt and canvas, N masked positions, V vocabulary.
"""

import torch
from torch import Tensor

from midspan.doctor.finding import Status, Subject, fault, note, ok
from midspan.models.padding import left_padded
from midspan.scoring import phrase_score
from midspan.scoring.block_states import masks_to_border

Look = tuple[Status, str, str]

CANVAS = 16
# Of different lengths, so that a batch is padded.
PROMPTS = ("hello", "the next step is to write", "is the next step to write , or is it to write a")
# Orders of summation differ with the shapes; logits are of the order of ten.
_TOLERANCE = 1e-3
_FLOAT32 = (
    "This installation computes something else in a batch; report it with the versions above."
)


def canvas_of(subject: Subject, text: str) -> list[int]:
    """A prompt and a canvas of masks."""
    mask = subject.lm.tokens.mask
    assert mask is not None
    return [*subject.lm.encode_chat(text), *[mask] * CANVAS]


def masked_logits(subject: Subject, *texts: str) -> Tensor:
    """Logits of the canvases behind prompts, in one batch, float32 on the CPU, [B, N, V]."""
    lm = subject.lm
    rows = [canvas_of(subject, text) for text in texts]
    ids_BT, attention_BT = left_padded(rows, lm.tokens.pad, lm.device)
    length = ids_BT.shape[1]
    wanted = torch.arange(length - CANVAS, length)
    with torch.inference_mode():
        canvas = length - CANVAS
        return lm.logits(ids_BT, attention_BT, wanted, canvas=canvas).float().cpu()


def finite_logits(subject: Subject) -> Look:
    """No logit is infinite or not a number."""
    logits_BNV = masked_logits(subject, PROMPTS[0])
    if not logits_BNV.isfinite().all():
        share = 1 - logits_BNV.isfinite().float().mean().item()
        return fault(
            f"{share:.1%} of the logits are not finite in {_dtype(subject)}",
            "Load with another dtype, or take the weights again: some may be damaged.",
        )
    return ok(f"{_dtype(subject)}, largest {logits_BNV.abs().max().item():.1f}")


def batch_against_rows(subject: Subject) -> Look:
    """A row of a padded batch has the tokens that it has alone."""
    together_BNV = masked_logits(subject, *PROMPTS)
    alone_BNV = torch.cat([masked_logits(subject, text) for text in PROMPTS])
    agree_BN = together_BNV.argmax(-1) == alone_BNV.argmax(-1)
    count = f"{int(agree_BN.sum())} of {agree_BN.numel()} tokens agree"
    gap = (together_BNV - alone_BNV).abs().max().item()
    if not subject.is_exact:
        remedy = "In this number format results depend on the batch: keep one batch size."
        detail = f"{count} in {_dtype(subject)}, logits differ by up to {gap:.2g}"
        return ok(detail) if agree_BN.all() else note(detail, remedy)
    scale = max(1.0, alone_BNV.abs().max().item())
    if not gap <= _TOLERANCE * scale:  # NaN is no agreement
        return fault(f"{count}, logits differ by up to {gap:.2g}", _FLOAT32)
    return ok(f"{count}, logits differ by up to {gap:.1g}")


def scoring(subject: Subject) -> Look:
    """The score of a phrase is the sum of its tokens' log-probabilities.

    Where blocks are decoded one after another it is so of a single token.
    """
    lm, start = subject.lm, 4
    # A tokenizer of bytes makes more tokens of it than the canvas holds.
    phrase_ids = lm.encode_text("the next step is")[: CANVAS - start]
    if lm.block_length is not None:
        phrase_ids = phrase_ids[:1]
    prompt_ids = lm.encode_chat(PROMPTS[0])
    score = phrase_score(lm, prompt_ids, phrase_ids, start, CANVAS)
    ids = canvas_of(subject, PROMPTS[0])
    ids += masks_to_border(lm, len(ids))
    with torch.inference_mode():
        logits_TV = lm.logits(torch.tensor([ids], device=lm.device), canvas=len(prompt_ids))[0]
    log_NV = logits_TV[len(prompt_ids) + start :].float().cpu().log_softmax(-1)
    naive = sum(log_NV[i, token].item() for i, token in enumerate(phrase_ids))
    tolerance = 1e-3 if subject.is_exact else 0.1
    if not abs(score.value - naive) <= tolerance * max(1.0, abs(naive)):
        return fault(
            f"{score.value:.4f} nats, {naive:.4f} from the logits",
            "Scores of phrases are wrong on this machine; report it with the versions above.",
        )
    return ok(f"{score.value:.2f} nats for {len(phrase_ids)} tokens")


def adapter(subject: Subject) -> Look:
    """The adapter does something, and merged it does the same."""
    lm = subject.lm
    if subject.adapter is None:
        return ok("none")
    with_NV = masked_logits(subject, PROMPTS[1])[0]
    with lm.adapter_disabled():
        without_NV = masked_logits(subject, PROMPTS[1])[0]
    if torch.equal(with_NV, without_NV):
        return note("changes no logit", "Is it trained? LoRA begins as zero.")
    moved = (with_NV - without_NV).abs().max().item()
    with lm.adapter_merged():
        merged_NV = masked_logits(subject, PROMPTS[1])[0]
    gap = (merged_NV - with_NV).abs().max().item()
    if subject.is_exact and not gap <= _TOLERANCE * max(1.0, with_NV.abs().max().item()):
        return fault(
            f"merged, it differs by up to {gap:.2g} where it moves logits by {moved:.2g}",
            "Do not merge it; report it with its adapter_config.json.",
        )
    return ok(f"moves logits by up to {moved:.2g}; merged within {gap:.1g}")


def _dtype(subject: Subject) -> str:
    return str(subject.lm.base.dtype).removeprefix("torch.")
