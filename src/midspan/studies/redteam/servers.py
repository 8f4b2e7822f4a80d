"""Everybody in a study who may turn out not to answer, met before it begins."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from midspan.engine.capabilities import Need
from midspan.runs.folder import is_begun
from midspan.studies.redteam.roles import Participant
from midspan.studies.servers import contact_all


def contact(
    participants: Iterable[Participant],
    folder: str | Path,
    needs: Mapping[str, Collection[Need]] | None = None,
) -> None:
    """Ask every server for a word before anything expensive is begun; see `contact_all`.

    Of local classifiers all but the weights is read, where the folder holds no replies yet.

    Args:
        participants: Everybody who may be asked something.
        folder: The run's.
        needs: What will be asked of them beside a text, by model.

    Raises:
        MidspanError: Naming the first server that cannot be asked, or not for what is needed, or
            the first classifier that will not do.
    """
    met = tuple(participants)
    if not is_begun(Path(folder)):
        for check in (one.check for one in met if one.check is not None):
            check()
    servers = {one.model: one.contact for one in met if one.contact is not None}
    contact_all(servers, folder, needs or {})
