"""All machines of an evaluation, spread over processes: entries → here → what was measured."""

from __future__ import annotations

import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for

from appliance.evaluation.datasets import Entry
from appliance.evaluation.runner import Measured, Request, run_entry

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""A process per core is enough; and figures must not depend on how many threads added them up."""

Watch = Callable[[Sequence[Entry]], None]
"""Is told what is being measured, whenever that changes."""


def run_all(entries: Sequence[Entry], request: Request, jobs: int, watch: Watch) -> Iterator[tuple[Entry, Measured]]:
    """Measure machines, the largest recordings first, and yield what came of each as it is ready.

    A process that dies takes only the machines with it that were being measured.
    """
    waiting = sorted(entries, key=lambda entry: entry.path.stat().st_size)
    while waiting:
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _prepare_process) as pool:
            running: dict[Future[Measured], Entry] = {}
            try:
                while waiting or running:
                    while waiting and len(running) < jobs:
                        running[pool.submit(run_entry, waiting[-1], request)] = waiting[-1]
                        waiting.pop()  # only now: a broken pool takes nothing
                    watch(list(running.values()))
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        measured = future.result()
                        yield running.pop(future), measured
            except BrokenProcessPool:
                for entry in running.values():
                    why = "its process died while it was measured: give it more memory, or use fewer --jobs"
                    yield entry, Measured(entry.dataset, entry.path.stem, failed=[("everything", why)])


def _prepare_process() -> None:
    """Limit the threads of libraries not imported yet, keep their warnings from the terminal, end with the parent."""
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    warnings.simplefilter("ignore")
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait for the parent's end: the pool's own queue never closes, as every process holds both its ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for([parent.sentinel])
    os._exit(1)
