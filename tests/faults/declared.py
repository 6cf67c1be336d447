"""The story of background sessions that the settings declare: they listen, whatever dies at their declaration."""

from domain.background.events import BackgroundState
from tests.faults.book import Book, Driver
from tests.faults.child import Child
from tests.faults.stories import Story
from tests.waiting import eventually

SETTINGS = """\
background_sessions:
  - name: declared
    bundle: {worker}
    triggers: [{{type: session_event, config: {{event_names: ["declared:*"]}}}}]
"""


class Declared(Story):
    async def prepare(self, child: Child, book: Book) -> None:
        settings = child.home / "config" / "agenttower" / "agenttower.yaml"
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(SETTINGS.format(worker=child.home / "nobody.yaml"))

    async def tell(self, driver: Driver) -> None:
        async def listens() -> bool:
            backgrounds = (await driver.state()).backgrounds
            return any(each.state is not BackgroundState.STOPPED for each in backgrounds.named("declared"))

        await driver.or_died(eventually(listens, "what the settings declare", timeout_s=60))

    async def tidy(self, child: Child) -> None:
        (child.home / "config" / "agenttower" / "agenttower.yaml").unlink(missing_ok=True)
