"""Judges: from a request and a response to a verdict."""

from midspan.judges.classifiers import FORMATS, ClassifierJudge
from midspan.judges.published import PUBLISHED, PublishedRubric, read_rubric
from midspan.judges.refusal import REFUSAL_KEYWORDS, refuses_by_keyword
from midspan.judges.roles import ChatJudge, ExactJudge, Rubric, keyword_judge
from midspan.judges.rubrics import HARM, RUBRICS, STRONGREJECT, JsonRubric
from midspan.judges.verdict import SUCCESS_SCORE, Verdict

__all__ = [
    "FORMATS",
    "HARM",
    "PUBLISHED",
    "REFUSAL_KEYWORDS",
    "RUBRICS",
    "STRONGREJECT",
    "SUCCESS_SCORE",
    "ChatJudge",
    "ClassifierJudge",
    "ExactJudge",
    "JsonRubric",
    "PublishedRubric",
    "Rubric",
    "Verdict",
    "keyword_judge",
    "read_rubric",
    "refuses_by_keyword",
]
