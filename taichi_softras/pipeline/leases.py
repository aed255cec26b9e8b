"""Who has which workspace: a rendering borrows one of its kind, and leaves it to others later."""

from contextlib import suppress

import taichi as ti

from taichi_softras.pipeline.plan import Memory, Plan
from taichi_softras.pipeline.workspace import Workspace

MOST_BYTES = 2**26
"""Bytes of all workspaces that wait for a rendering."""

MOST_WAITING = 64
"""Workspaces that wait for a rendering."""

MOST_KINDS = 32
"""Workspaces for the same kernels that wait for renderings of other kinds."""


class Lease:
    """A workspace that nobody else has as long as this lives.

    What can still be asked for its gradients holds it.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def __del__(self) -> None:
        """Leave it to others, unless there is too much already, or the interpreter is ending."""
        if _waiting is None or self.workspace.nbytes > MOST_BYTES:
            return
        _waiting.append(self.workspace)
        while len(_waiting) > MOST_WAITING or sum([w.nbytes for w in _waiting]) > MOST_BYTES:
            # Another thread may do the same.
            with suppress(IndexError):
                _waiting.pop(0)


def borrow(plan: Plan, memory: Memory) -> Lease:
    """Return a workspace for a rendering; hold `runtime.launch_lock`."""
    code, program = (plan.code, type(memory)), ti.lang.impl.get_runtime().prog
    if _waiting:  # in a loop it is the one that has just come back
        last = _waiting[-1]
        mine = last.kind == plan.kind and last.code == code and last.program is program
        if mine and _take(last):
            return Lease(last)
    waiting = []
    for each in tuple(_waiting):
        if each.program is not program:  # Taichi was started anew, and its kernels are gone
            _take(each)
        elif each.code == code:
            waiting.append(each)
    # Few kinds keep theirs; of many, each takes what has waited longest.
    for found in [w for w in waiting if w.kind == plan.kind][-1:] or waiting[:-MOST_KINDS]:
        if _take(found):
            if found.kind != plan.kind:
                found.fit(plan)
            return Lease(found)
    return Lease(Workspace(plan, memory.lasting(), code))


def _take(workspace: Workspace) -> bool:
    """Let it wait no longer; False if another thread was faster."""
    try:
        _waiting.remove(workspace)
    except ValueError:
        return False
    return True


_waiting: list[Workspace] = []
"""Workspaces that nobody has, the one that has waited longest first."""
