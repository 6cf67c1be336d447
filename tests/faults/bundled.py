"""The story of a bundle: prepared at the start, changed, broken, mended, asked for, its overlay changed twice."""

import asyncio

from domain.bundles import events as b
from domain.messages import Event
from tests.faults.book import Book, Driver
from tests.faults.child import Child
from tests.faults.stories import Story
from tests.waiting import eventually

TEXT = "bundle: {{name: fault}}\ninstruction: {text}\n"


class Bundled(Story):
    async def prepare(self, child: Child, book: Book) -> None:
        settings = child.home / "config" / "agenttower" / "agenttower.yaml"
        settings.parent.mkdir(parents=True, exist_ok=True)
        (child.home / "fault.yaml").write_text(TEXT.format(text="first"))
        (child.home / "more.yaml").write_text("tools: [{module: more}]")
        settings.write_text(f"bundles: ['{child.home / 'fault.yaml'}']\n")

    async def tell(self, driver: Driver) -> None:
        file, number = driver.child.home / "fault.yaml", len(driver.book.sent)
        # Homes are told this story more than once.
        begun = await driver.or_died(driver.position())
        await _write(driver, TEXT.format(text=f"a{number}"))
        await _told(driver, b.BundleReloaded, begun)
        await _write(driver, f"bundle: {{{number}")
        await _told(driver, b.BundleReloadFailed, begun)
        await _write(driver, TEXT.format(text=f"b{number}"))
        for verb, data in (
            ("reload", {}),
            ("overlay_add", {"include": str(driver.child.home / "more.yaml")}),
            ("overlay_remove", {"include": str(driver.child.home / "more.yaml")}),
        ):
            await driver.ask("bundle", verb, {"bundle": str(file), **data})

        async def done() -> bool:
            state = await driver.state()
            return not state.bundles.reloads and not state.bundles.changes

        await driver.or_died(eventually(done, "all that was asked of the bundle is done", timeout_s=60))

    async def tidy(self, child: Child) -> None:
        (child.home / "config" / "agenttower" / "agenttower.yaml").unlink(missing_ok=True)


async def _write(driver: Driver, text: str) -> None:
    await asyncio.to_thread((driver.child.home / "fault.yaml").write_text, text)


async def _told(driver: Driver, kind: type[Event], after: int) -> None:
    """Until the log has such an event behind a position."""

    async def look() -> bool:
        return any(isinstance(each.event, kind) and each.position > after for each in await driver.recorded())

    await driver.or_died(eventually(look, f"a {kind.__name__}", timeout_s=60))
