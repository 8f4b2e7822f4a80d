"""The second organism's scripted translator: its world's languages, and manners of asking.

*Tavi* and *Senn* are languages of the world, word by word. The other tongues are disguises; answers
to these come back in English, so the way back changes nothing.
"""

import random

from midspan.engine.calls import Chat
from midspan.organism.scripts import around
from midspan.organism.second import tongues
from midspan.organism.second.disguises import DISGUISES

FINGERPRINT = "organism2-translator-v1"
COMMON = tongues.ENGLISH
_FAMILIES = {family.name: family for family in DISGUISES}
TONGUES = (COMMON, tongues.TAVI, tongues.SENN, "foreign_words", "noise", "authority")


def translator(call: Chat, rng: random.Random) -> str | None:
    """Answer a translation; None for a tongue that nobody speaks."""
    if call.kind != "speakeasy.translate":
        return None
    text, language = str(call.fields["text"]), call.fields["language"]
    if language == COMMON:
        return tongues.in_english(text)
    if language in tongues.LANGUAGES:
        return tongues.translated(text, language)
    family = _FAMILIES.get(language)
    if family is None:
        return None
    return rng.choice(around([family]) or ["{ask}"]).format(ask=text)
