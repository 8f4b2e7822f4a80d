"""Names of what attacks ship: codes, techniques, ways."""

from collections.abc import Collection

from pydantic import AfterValidator

from midspan.errors import not_one_of


def all_of(known: Collection[str]) -> AfterValidator:
    """Lets names pass that are all known; for fields of configs."""

    def check(names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in known:
                raise not_one_of("", name, known)
        return names

    return AfterValidator(check)
