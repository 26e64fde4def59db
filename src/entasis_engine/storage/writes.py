"""What holds of every write: once begun, it is finished."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import TypeVar

_Result = TypeVar("_Result")


async def finished(work: Awaitable[_Result]) -> _Result:
    """Wait for some work to its end, however often cancelled meanwhile; then be cancelled.

    A write that is broken off leaves its connection, and so the database, locked.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):  # which is raised below all the same
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # whoever cancels is told nothing else, even if the work failed
        raise
