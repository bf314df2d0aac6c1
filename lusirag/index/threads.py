"""Threads that call FAISS, DuckDB or numpy, which let go of Python's lock while they work.

NOTE: not concurrent.futures, with which a query that two threads share takes 0.04 to 0.1 ms more, of one or two.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import TypeVar, cast

from lusirag.index.engine import load_faiss

Item = TypeVar("Item")
Result = TypeVar("Result")

_here = threading.local()  # busy: whether this thread is one of several; threads: how many FAISS was told it may use


class _Help:
    """Work that one of the helpers may do, if it comes to it before it is called off."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._claim, self._done = threading.Lock(), threading.Lock()
        self._done.acquire()
        self._error: BaseException | None = None

    def give(self) -> None:
        """Do it, unless it was called off."""
        if self._claim.acquire(blocking=False):
            try:
                self._work()
            except BaseException as error:
                self._error = error
            finally:
                self._done.release()

    def settle(self) -> BaseException | None:
        """Call it off, or wait for its end if it was begun: then what was raised, if anything."""
        if not self._claim.acquire(blocking=False):
            self._done.acquire()
        return self._error


class _Helpers:
    """The other threads of a process."""

    def __init__(self) -> None:
        self._wanted: SimpleQueue[_Help] = SimpleQueue()
        self._lock = threading.Lock()
        self._count = 0

    def ask(self, work: Callable[[], None], count: int) -> list[_Help]:
        """Let so many of them do something, each as soon as it has nothing else to do."""
        with self._lock:
            while self._count < count:
                thread = threading.Thread(target=self._serve, name=f"lusirag search {self._count}", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the process may have no more, or is about to end
                    break
                self._count += 1
            count = min(count, self._count)
        asked = [_Help(work) for _ in range(count)]
        for each in asked:
            self._wanted.put(each)
        return asked

    def _serve(self) -> None:
        _here.busy = True
        while True:
            self._wanted.get().give()  # and keep no name for it, which would keep an index open


_helpers: dict[int, _Helpers] = {}  # by process, as no thread survives a fork


def in_threads(run: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Do something for each item, in as many threads as FAISS may use; within that, one after another.

    The calling thread is one of them, and each takes the next item when it is done with one: so little is lost where
    items are short, unlike each other, or where the other threads are busy.
    """
    items = list(items)
    if getattr(_here, "busy", False) or len(items) < 2 or (threads := thread_count()) == 1:
        return [run(item) for item in items]
    results: list[Result | None] = [None] * len(items)
    left = iter(range(len(items)))

    def work() -> None:
        try:
            for number in left:
                results[number] = run(items[number])
        except BaseException:
            for _ in left:  # so that the others end too
                pass
            raise

    def help_out() -> None:
        # NOTE: each thread has its own number, and with another one BLAS adds up in another order.
        if getattr(_here, "threads", None) != threads:
            load_faiss().omp_set_num_threads(threads)
            _here.threads = threads
        work()

    helpers = _helpers.get(os.getpid()) or _helpers.setdefault(os.getpid(), _Helpers())
    asked = helpers.ask(help_out, min(threads, len(items)) - 1)
    _here.busy = True
    try:
        work()
    finally:
        _here.busy = False
        errors = [each.settle() for each in asked]
    for error in errors:
        if error is not None:
            raise error
    return cast(list[Result], results)


def thread_count() -> int:
    """In how many threads `in_threads` does things."""
    return int(load_faiss().omp_get_max_threads())
