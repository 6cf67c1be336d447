"""Checkpoints that are proven: a fresh process loads them, and what does not load there does not count as saved."""

import asyncio
from pathlib import Path
from typing import Any

from adapters.executing.outcomes import Outcome
from adapters.executing.output import Chunk
from adapters.executing.process import Frame
from adapters.executing.sources import Source
from adapters.executing.worker import Asked, Conduct, Worker, WorkerFailed


class _Nobody:
    """Follows the fresh process: what loading prints or asks is nobody's."""

    async def output(self, chunk: Chunk) -> None:
        del chunk

    async def asked(self, asked: Asked) -> None:
        raise WorkerFailed(f"loading names asks for {asked.kind}")

    async def ended(self, outcome: Outcome) -> None:
        del outcome


async def verified(worker: Worker, path: Path, workers: Source) -> Frame:
    """Save into `path`; the frame of the checkpoint. Names that a fresh process cannot load are among its `skipped`.
    Raises `WorkerFailed`."""
    saved = await worker.checkpoint(str(path))
    fresh = await workers.take(worker.settings, _Nobody(), Conduct())
    try:
        if await _loads_whole(fresh, path, saved):
            return saved
        single = path.with_name(path.name + ".single")
        try:
            await worker.checkpoint(str(single), single=True)
            probed = await fresh.probe(str(single))
        finally:
            await asyncio.to_thread(single.unlink, missing_ok=True)
        unloadable = {each["name"]: each["reason"] for each in probed["failed"]}
        saved = await worker.checkpoint(str(path), leave_out=unloadable)
        if not await _loads_whole(fresh, path, saved):
            raise WorkerFailed("what was saved does not load in a fresh process, though each name does by itself")
        return saved
    finally:
        fresh.kill()


async def _loads_whole(fresh: Worker, path: Path, saved: Frame) -> bool:
    try:
        restored: dict[str, Any] = await fresh.restore(str(path), clear_existing=True)
    except WorkerFailed:
        return False
    return set(restored["names"]) >= set(saved["names"])
