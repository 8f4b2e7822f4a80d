"""Who takes what, and whose journal is whose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midspan.errors import MidspanError
from midspan.journal.journal import Journal
from midspan.journal.ranks import Rank, open_journal, this_rank


@given(st.lists(st.integers()), st.integers(1, 9))
def test_shares_are_a_partition(items, count):
    shares = [Rank(index, count).share(items) for index in range(count)]
    assert sorted(item for share in shares for item in share) == sorted(items)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_the_launcher_says_who_this_is(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert this_rank() == Rank(0, 1)
    monkeypatch.setenv("RANK", "3")
    with pytest.raises(MidspanError, match="RANK=3 and WORLD_SIZE=1 name no process"):
        this_rank()
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert this_rank() == Rank(3, 4)


def test_journals_are_taken_in_once_their_writers_are_gone(tmp_path):
    with open_journal(tmp_path, Rank()) as journal:
        journal.append({"old": 0})
    first = open_journal(tmp_path, Rank(0, 2))
    assert "old" in first
    first.append({"a": 1})
    with open_journal(tmp_path, Rank(1, 2)) as second:
        assert "a" in second
        second.append({"b": 2})
    with pytest.raises(MidspanError, match="journal.0.jsonl: another process"):
        open_journal(tmp_path, Rank())
    first.close()
    with open_journal(tmp_path, Rank()) as journal:
        assert {key: journal[key] for key in journal} == {"old": 0, "a": 1, "b": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["journal.jsonl"]
    with Journal(tmp_path / "journal.jsonl") as journal:
        assert len(journal) == 3


def test_a_run_does_not_start_on_shards(tmp_path, monkeypatch):
    from midspan.models import placement
    from midspan.runs.folder import RunFolder

    monkeypatch.setattr(placement, "is_sharded", lambda: True)
    with pytest.raises(MidspanError, match="FSDP shards what midspan align trains"):
        RunFolder(tmp_path / "run", {})
    assert not (tmp_path / "run").exists()
