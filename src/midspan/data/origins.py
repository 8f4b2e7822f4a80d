"""Where data sets are published, and how one file of theirs is fetched."""

import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Literal

from midspan.errors import MidspanError
from midspan.files import cache_folder, name_beside

_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Origin:
    """A repository of the Hugging Face hub or of GitHub, or this package.

    Attributes:
        host: "hub", "github" or "package".
        repo: OWNER/NAME.
        revision: Commit or branch.
        gated: Whether the authors grant access on request.
    """

    host: Literal["hub", "github", "package"]
    repo: str
    revision: str = "main"
    gated: bool = False

    @property
    def page(self) -> str:
        """Where people read about the data set and ask for access."""
        if self.host == "package":
            return f"shipped with {self.repo}"
        if self.host == "hub":
            return f"https://huggingface.co/datasets/{self.repo}"
        return f"https://github.com/{self.repo}"


def download(origin: Origin, file: str) -> Path:
    """One file of a repository, from the cache when it is there; or one that is shipped.

    Raises:
        MidspanError: It cannot be had; the reason, and how to get access to a gated one.
    """
    if origin.host == "package":
        return Path(__file__).parent / file
    from httpx2 import HTTPError

    try:
        return _from_hub(origin, file) if origin.host == "hub" else _from_github(origin, file)
    # The hub's own errors are OSErrors, too; those of its transport, a broken proxy's, are not.
    except (OSError, HTTPException, HTTPError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if origin.gated:
            raise MidspanError(
                f"data: {origin.repo} is gated, and {file} was not given ({reason}). Sign in and "
                f"accept its licence at {origin.page}, then run `hf auth login` or set HF_TOKEN; "
                "or give a local copy as NAME=PATH"
            ) from error
        raise MidspanError(
            f"data: cannot download {file} of {origin.page} ({reason}); fetch it elsewhere and "
            "give the local copy as NAME=PATH"
        ) from error


def _from_hub(origin: Origin, file: str) -> Path:
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(origin.repo, file, repo_type="dataset", revision=origin.revision))


def _from_github(origin: Origin, file: str) -> Path:
    path = cache_folder() / origin.repo / origin.revision / file
    if not path.is_file():
        url = f"https://raw.githubusercontent.com/{origin.repo}/{origin.revision}/{file}"
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:
            content = response.read()
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = name_beside(path)
        temporary.write_bytes(content)
        temporary.replace(path)
    return path
