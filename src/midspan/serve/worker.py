"""The thread that owns the models: requests become rows, rows enter and leave batches.

Nothing else touches a model or a tokenizer. Rows of one lane, a model under one config, share a
batch; lanes take their steps in turn.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from itertools import count
from queue import Empty, SimpleQueue
from typing import TypeAlias, TypeVar

import torch

from midspan.decoding import Request, Rule
from midspan.decoding.batch import Filled
from midspan.decoding.bound import hooks_of
from midspan.decoding.chat import unfolded
from midspan.decoding.decoder import generation_of
from midspan.decoding.requested import check_requests
from midspan.decoding.stream import Stream
from midspan.errors import MidspanError
from midspan.models.finite import NotFiniteError
from midspan.serve.errors import ApiError, ending
from midspan.serve.faults import failure, fault, refused, too_late
from midspan.serve.jobs import Began, Failed, Job, Piece, Place, Running
from midspan.serve.lanes import Lane, LaneBatch
from midspan.serve.metrics import Metrics
from midspan.serve.prepare import prepare
from midspan.serve.progress import EndWatch, snapshots
from midspan.serve.waiting import Row, Waiting

LOG = logging.getLogger("midspan.serve")

# Batches at a time; more lanes wait for one of them to empty.
_MAX_BATCHES = 8


Command: TypeAlias = Job | str | Callable[[], None] | None
Result = TypeVar("Result")


class Worker:
    """Decodes what it is given, until it is stopped.

    Args:
        batch_size: Rows of a batch.
        rules: What acts on every request, before its own rules.
        metrics: What is counted.
    """

    def __init__(self, batch_size: int, rules: Sequence[Rule], metrics: Metrics) -> None:
        self._rules, self._metrics = tuple(rules), metrics
        self._batch_size = batch_size
        self._inbox: SimpleQueue[Command] = SimpleQueue()
        self._numbers = count()
        self._jobs: dict[str, Running] = {}
        self._places: dict[int, Place] = {}
        self._requests: dict[int, Request] = {}
        self._rows: dict[int, Row[Lane]] = {}
        self._waiting: Waiting[Lane] = Waiting()
        self._batches: dict[Lane, LaneBatch] = {}
        self._is_draining = self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="midspan-serve", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Take in a job; its events come from the worker's thread."""
        self._inbox.put(job)

    def cancel(self, job_id: str) -> None:
        """Free a job's places; its client is told nothing more."""
        self._inbox.put(job_id)

    def call(self, work: Callable[[], Result]) -> Future[Result]:
        """Let the thread call a function."""
        future: Future[Result] = Future()

        def called() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work())
            except Exception as error:  # The caller's, wherever it was raised.
                future.set_exception(error)

        self._inbox.put(called)
        return future

    def drain(self) -> None:
        """Refuse what waits, and finish what runs."""
        self._is_draining = True
        self._inbox.put(None)

    def stop(self) -> None:
        """End the thread; what runs is refused."""
        self._is_stopped = True
        self._inbox.put(None)
        if self._thread.is_alive():
            self._thread.join()

    # What follows runs in the thread.

    @torch.inference_mode()
    def _run(self) -> None:
        while not self._is_stopped:
            try:
                self._turn()
            except Exception:  # A fault in what is under way must not end the server.
                LOG.exception("what was under way is given up")
                self._batches.clear()
                for running in list(self._jobs.values()):
                    self._fail(running, fault())
        self._take_in()
        self._refuse(self._jobs.values())

    def _turn(self) -> None:
        """Take in what came, fill free places, and one step of every batch."""
        self._take_in()
        now = time.monotonic()
        for running in [one for one in self._jobs.values() if now > one.job.deadline]:
            self._fail(running, too_late())
        if self._is_draining:
            self._refuse(one for one in self._jobs.values() if not one.has_begun)
        self._admit()
        for lane in list(self._batches):
            self._step(lane)
        self._metrics.queue.set(len(self._waiting))
        self._metrics.rows.set(len(self._rows) - len(self._waiting))

    def _take_in(self) -> None:
        """Take in all commands; wait for one where there is nothing else to do."""
        is_idle = not self._rows and not self._is_stopped
        while True:
            try:
                command = self._inbox.get(block=is_idle)
            except Empty:
                return
            if isinstance(command, Job):
                self._prepare(command)
            elif isinstance(command, str):
                if command in self._jobs:
                    self._drop(self._jobs[command])
            elif command is not None:
                command()
            is_idle = is_idle and not self._rows and not self._is_stopped

    def _prepare(self, job: Job) -> None:
        """Make rows of a job."""
        if self._is_draining or self._is_stopped:
            job.tell(Failed(ending()))
            return
        try:
            prepared = prepare(job.lm, job.asked, self._rules)
            rows = unfolded(prepared.requests)
            check_requests(job.lm, rows, prepared.config)
            hooks = hooks_of(job.lm, (), prepared.config)
        except MidspanError as error:
            job.tell(Failed(refused(error)))
            return
        except Exception:  # A fault in one request must not end the server for all.
            LOG.exception("job %s could not be prepared", job.id)
            job.tell(Failed(fault()))
            return
        running = Running(job, prepared, hooks)
        self._jobs[job.id] = running
        lane = Lane(job.asked.model, prepared.config)
        for choice, request in enumerate(prepared.requests):
            copies = unfolded([request])
            for copy, row_request in enumerate(copies):
                self._add(lane, row_request, Place(running, choice, copy))
            if not copies:
                self._begin(running)
                running.complete(choice)
        self._tidy(running)

    def _add(self, lane: Lane, request: Request, place: Place) -> None:
        number = next(self._numbers)
        row = Row(number, place.job.job.client, lane)
        place.job.rows.add(number)
        self._places[number], self._requests[number], self._rows[number] = place, request, row
        self._waiting.add(row)

    def _begin(self, running: Running) -> None:
        if not running.has_begun:
            running.has_begun = True
            self._metrics.waited.observe(time.monotonic() - running.job.arrived)
            running.job.tell(Began())

    def _refuse(self, jobs: Iterable[Running]) -> None:
        for running in list(jobs):
            self._fail(running, ending())

    def _fail(self, running: Running, error: ApiError) -> None:
        self._drop(running)
        running.job.tell(Failed(error))

    def _drop(self, running: Running) -> None:
        """Free a job's places."""
        leaving = set(running.rows)
        lanes = {self._rows[number].lane for number in leaving}
        for number in leaving:
            self._forget(number)
        for lane in lanes & self._batches.keys():
            self._batches[lane].stream.take_out(leaving)
            self._close_if_empty(lane)
        self._tidy(running)

    def _forget(self, number: int) -> None:
        """A row is done, wherever it was."""
        row = self._rows.pop(number)
        if not self._waiting.remove(row):
            self._waiting.left(row.client)
        place = self._places.pop(number)
        del self._requests[number]
        place.job.rows.discard(number)

    def _tidy(self, running: Running) -> None:
        if not running.rows:
            self._jobs.pop(running.job.id, None)

    def _close_if_empty(self, lane: Lane) -> None:
        if not self._batches[lane].stream.rows:
            del self._batches[lane]

    def _admit(self) -> None:
        """Give free places to waiting rows."""
        for lane in self._waiting.lanes():
            batch = self._batches.get(lane)
            if batch is None and len(self._batches) >= _MAX_BATCHES:
                # One that is never empty would keep this lane waiting for ever.
                next(iter(self._batches.values())).is_closing = True
                continue
            free = self._size(lane) if batch is None else batch.free
            rows = self._waiting.take(lane, free)
            if rows:
                self._enter(lane, [row.number for row in rows])

    def _size(self, lane: Lane) -> int:
        return self._batch_size if lane.alone is None else 1

    def _enter(self, lane: Lane, rows: list[int]) -> None:
        if lane not in self._batches:
            self._batches[lane] = self._opened(lane, self._places[rows[0]].job)
        batch = self._batches[lane]
        batch.entered += len(rows)
        for number in rows:
            self._begin(self._places[number].job)
        try:
            batch.stream.enter(self._requests, rows)
        except Exception as error:  # As in `_step`.
            self._recover(lane, set(rows) | set(batch.stream.rows), error)
            return
        framed = {number for number in rows if self._places[number].job.has_frames}
        if framed:
            self._tell(batch, framed)

    def _opened(self, lane: Lane, running: Running) -> LaneBatch:
        hooks = list(running.hooks)
        stream = Stream(running.job.lm, lane.config, hooks, self._size(lane))
        return LaneBatch(stream, EndWatch(sorted(running.job.lm.tokens.stop)), hooks)

    def _step(self, lane: Lane) -> None:
        """One step of a lane's rows."""
        batch = self._batches[lane]
        rows = set(batch.stream.rows)
        try:
            self._finish(batch.stream.settle())
            if batch.stream.rows:
                places = [self._places[number] for number in batch.stream.rows]
                batch.watch_ends(any(place.job.has_frames for place in places))
                committed = batch.stream.advance()
                if committed is not None:
                    active = len(committed.chosen_AR)
                    self._metrics.forward(active, self._batch_size, lane.config.forwards_per_step)
                    self._tell(batch, set(batch.stream.rows))
        except Exception as error:  # One row's fault must end neither the others nor the server.
            self._recover(lane, rows & self._rows.keys(), error)
            return
        self._close_if_empty(lane)

    def _finish(self, filled: Iterable[tuple[int, Filled]]) -> None:
        for number, row in filled:
            place = self._places[number]
            running = place.job
            if row.is_broken:  # `_recover` decodes it alone, and then its client is told.
                raise NotFiniteError
            generation = generation_of(running.job.lm, row, self._requests[number])
            self._forget(number)
            running.take(place.choice, place.copy, generation)
            self._tidy(running)

    def _tell(self, batch: LaneBatch, rows: set[int]) -> None:
        """Tell clients what a step did; rows whose answer has met a stop text leave."""
        watched = {
            number
            for number in rows
            if self._places[number].job.is_watched(self._places[number].choice)
        }
        if not watched:
            return
        ended = []
        for number, shot in snapshots(batch.stream.batch, watched).items():
            place = self._places[number]
            running, text = place.job, place.job.texts[place.choice]
            added = text.advance(shot)
            frame = None
            if running.has_frames:
                p_eos = batch.watch.p_eos.get(number) if shot.step >= 0 else None
                frame = running.frames[place.choice].advance(shot, p_eos)
            if running.is_streamed and (added or frame):
                running.job.tell(Piece(place.choice, added, frame))
            if text.is_stopped:
                ended.append(number)
        self._finish(batch.stream.take_out(ended))

    def _recover(self, lane: Lane, rows: set[int], error: Exception) -> None:
        """Decode the rows of a batch that failed again, each alone; a row that was alone fails."""
        del self._batches[lane]
        is_memory = isinstance(error, torch.OutOfMemoryError)
        if is_memory and len(rows) > 1:
            self._batch_size = max(1, min(self._batch_size, len(rows)) // 2)
            LOG.warning("out of memory: batches have %d rows from now on", self._batch_size)
            torch.cuda.empty_cache()
        elif not isinstance(error, MidspanError):
            LOG.error("a batch of %d rows failed", len(rows), exc_info=error)
        for number in sorted(rows):
            if number not in self._rows:
                continue
            place = self._places[number]
            if len(rows) == 1:
                self._fail(place.job, failure(error))
                continue
            request, running = self._requests[number], place.job
            self._forget(number)
            alone = Lane(lane.model, lane.config, alone=number)
            self._add(alone, request, Place(running, place.choice, place.copy))
