"""A red-team study cut into shares of its behaviors: no behavior depends on another."""

from dataclasses import replace
from pathlib import Path

from midspan.journal.ranks import Rank, take_rank
from midspan.organism.worlds import is_organism
from midspan.runs.executors import How
from midspan.runs.processes import Part
from midspan.studies.given import NOTHING
from midspan.studies.redteam.config import RedteamConfig
from midspan.studies.redteam.prepare import PreparedRedteam
from midspan.studies.redteam.run import RedteamResult, run_prepared, run_redteam


def run_shared(prepared: PreparedRedteam, folder: Path, how: How) -> RedteamResult:
    """Run or continue a study, its behaviors in as many shares as `how` has jobs.

    Raises:
        MidspanError: See `run_redteam`; a share failed.
    """
    config = prepared.config
    small = all(map(is_organism, config.models))
    jobs = min(how.width(small), len(prepared.behaviors))
    shares = {
        share_name(rank): Part(run_share, (config, folder, how, rank)) for rank in ranks(jobs)
    }
    if how.on_ray:
        arguments = (config, folder, how.command, NOTHING, how.fail_fast)
        done: RedteamResult = how.run_then_collect(shares, run_redteam, arguments, small)
        return replace(done, seconds=how.seconds)
    if jobs == 1:
        return run_prepared(prepared, folder, how.command, how.fail_fast)
    how.run(shares, small)
    done = run_prepared(prepared, folder, how.command, how.fail_fast)
    return replace(done, seconds=how.seconds)


def ranks(count: int) -> list[Rank]:
    """So many processes of one run."""
    return [Rank(index, count) for index in range(count)]


def share_name(rank: Rank) -> str:
    """What a terminal calls a share."""
    return f"attacks {rank.index + 1} of {rank.count}"


def run_share(config: RedteamConfig, folder: Path, how: How, rank: Rank) -> None:
    """One process's share of the behaviors, into its own journal."""
    take_rank(rank)
    run_redteam(config, folder, how.command, fail_fast=how.fail_fast)
