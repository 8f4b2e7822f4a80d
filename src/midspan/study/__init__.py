"""Studies: several models measured, compared and reported. Called, it is `midspan.study`.

The package and the verb share a name: importing any part of the package binds it to `midspan`, so
it must be callable itself.
"""

import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *arguments: Any, **fields: Any) -> Any:
        from midspan.api.study import study

        return study(*arguments, **fields)


sys.modules[__name__].__class__ = _CallablePackage
