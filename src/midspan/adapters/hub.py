"""The Hugging Face hub: one repository, one commit, private unless said otherwise."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from midspan.adapters.publishing import Package
from midspan.errors import MidspanError

_REPO = re.compile(r"[\w.-]+/[\w.-]+")
_AGAIN = "nothing is visible of a commit that failed; the same command goes on"
_REFUSALS = {
    401: "the hub does not know this token; log in anew: hf auth login",
    403: "this token may not write there; make one that may, at hf.co/settings/tokens",
}


def check_repo(repo: str) -> None:
    """Refuse what is no OWNER/NAME.

    Raises:
        MidspanError: It is not.
    """
    if not _REPO.fullmatch(repo):
        raise MidspanError(f"--repo: must be OWNER/NAME; got {repo!r}")


def push(package: Package, repo: str, public: bool = False) -> str:
    """Send all files in one commit; returns the commit's address.

    Nothing is visible of a push that fails in the middle, and what had arrived is not sent again.
    A file that the repository has already in the same words makes no commit.

    Args:
        package: What is sent.
        repo: OWNER/NAME; made where it is not there.
        public: Whether everybody may read it.

    Raises:
        MidspanError: There is no token, the hub refuses it or does not answer, or the repository
            is public and `public` is not said.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    token = get_token()
    if token is None:
        raise MidspanError("push: needs a token that may write; set HF_TOKEN or run hf auth login")
    api = HfApi(token=token, library_name="midspan")
    operations = [CommitOperationAdd(one.name, one.content) for one in package.uploads]
    with _answering(repo):
        api.create_repo(repo, private=not public, exist_ok=True)
        is_private = api.repo_info(repo).private
        if not is_private and not public:
            raise MidspanError(
                f"--repo: {repo} is there and public; say --public, or make it private first"
            )
        done: Any = api.create_commit(repo, operations, commit_message="Upload by midspan push")
    return str(done.commit_url)


@contextmanager
def _answering(repo: str) -> Iterator[None]:
    """Within the context, what hub and network refuse becomes a `MidspanError`."""
    from httpx2 import HTTPError
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except MidspanError:
        raise
    except HfHubHTTPError as error:
        status = error.response.status_code
        reason = _REFUSALS.get(status) or f"{error.server_message or error}; {_AGAIN}"
        raise MidspanError(f"push: {repo}: status {status}: {reason}") from error
    # The hub's client raises RuntimeError and ValueError about single files.
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        reason = f"{error}: {error.__cause__}" if error.__cause__ else str(error)
        raise MidspanError(f"push: {repo}: {reason}; {_AGAIN}") from error
