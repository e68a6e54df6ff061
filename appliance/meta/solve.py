"""The process that descends: ``python -m appliance.meta.solve SECS MB PARENT``, npz on standard input → npz on output.

It limits itself before it imports anything large, and ends with its parent. Exit status: EX_UNAVAILABLE without torch,
EX_OSERR where memory does not suffice. `solver.py` starts it and puts them in words.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import re
import resource
import signal
import sys
import time
import types
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_NICE = 10
_HARD_SECS = 1
"""After the signal that CPU is used up."""
_NO_ROOM = re.compile(r"memory|map segment|bad_alloc", re.IGNORECASE)
"""In what the loader, torch and C++ say where an allocation fails."""


def limit(secs: float, mb: int, parent: int) -> None:
    """Stand back behind everything else, and end at so much CPU, so much address space, or with the parent."""
    with contextlib.suppress(OSError):  # a sandbox may forbid it, and has put the whole service back by itself
        os.nice(_NICE)
    cpu = math.ceil(secs)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + _HARD_SECS))
    resource.setrlimit(resource.RLIMIT_AS, (mb * 2**20, mb * 2**20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before we asked to be told
        raise SystemExit(1)


def without_compiler() -> None:
    """Spare ``torch.func`` the import of torch's compiler: 1.3 s of CPU and 70 MB, for a switch.

    ``torch.func.grad`` turns off a mode that only ``torch.compile`` turns on (torch 2.13, `_autograd_grad`).
    """
    compiler = types.ModuleType("torch._dynamo")
    compiler.__dict__["compiled_autograd"] = types.SimpleNamespace(_disable=contextlib.nullcontext)
    sys.modules[compiler.__name__] = compiler


def answer(raw: bytes) -> bytes:
    """Descend, and say what that took."""
    from appliance.adapt import wire  # noqa: PLC0415 - not before the limits hold
    from appliance.adapt.adapters.task import Task  # noqa: PLC0415
    from appliance.meta.descend import descend  # noqa: PLC0415

    without_compiler()
    found = wire.read(raw)
    meta = {name.removeprefix("meta/"): each for name, each in found.items() if name.startswith("meta/")}
    began = time.process_time()
    part = descend(str(found["method"]), meta, Task(*(found[name] for name in Task._fields)))
    now = time.process_time()
    used = {"descent_cpu_secs": now - began, "cpu_secs": now, "peak_mb": peak_mb()}
    return wire.written(part.snapshot()[0] | used)


def peak_mb() -> float:
    """Most memory of this process that was resident at once; ``ru_maxrss`` would count the parent's."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(found[1]) / 1024 if found else math.nan


def main() -> None:
    """Answer once; the exit status says what went wrong."""
    secs, mb, parent = sys.argv[1:]
    limit(float(secs), int(mb), int(parent))
    with os.fdopen(os.dup(1), "wb") as output:
        os.dup2(2, 1)  # nothing that a library prints may come between
        try:
            output.write(answer(sys.stdin.buffer.read()))
        except (MemoryError, ImportError, RuntimeError) as error:
            sys.exit(_status(error))


def _status(error: Exception) -> int | str:
    if isinstance(error, ModuleNotFoundError) and error.name == "torch":
        return os.EX_UNAVAILABLE
    if isinstance(error, MemoryError) or _NO_ROOM.search(str(error)):
        return os.EX_OSERR
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
