"""Judges: from a request and a response to a verdict."""

from midspan.judges.classifiers import FORMATS, ClassifierJudge
from midspan.judges.published import PUBLISHED, PublishedRubric, read_rubric
from midspan.judges.refusal import REFUSALS, refuses
from midspan.judges.roles import ChatJudge, ExactJudge, Rubric, keyword_judge
from midspan.judges.rubrics import HARM, RUBRICS, STRONGREJECT, XSTEST, JsonRubric
from midspan.judges.verdict import SUCCESS_SCORE, Verdict

__all__ = [
    "FORMATS",
    "HARM",
    "PUBLISHED",
    "REFUSALS",
    "RUBRICS",
    "STRONGREJECT",
    "SUCCESS_SCORE",
    "XSTEST",
    "ChatJudge",
    "ClassifierJudge",
    "ExactJudge",
    "JsonRubric",
    "PublishedRubric",
    "Rubric",
    "Verdict",
    "keyword_judge",
    "read_rubric",
    "refuses",
]
