"""Topics heard a second time, beside the consumer that hears them for good."""

from collections.abc import Awaitable, Callable, Mapping

from todoke.relay.consumer import Discipline, Place
from todoke.relay.kafka import Alone
from todoke.relay.limits import BATCH_RECORDS_MAX

POLL_MS = 100
"""Longest wait for records: whoever waits for this consumer to come level with the other one waits as long."""


class Following:
    """Hears without a group, and never further than another consumer has.

    `upto` answers how far that is, by partition; `rest` is called after each round with the number of records it had,
    at most `records_max`.
    """

    def __init__(
        self,
        discipline: Discipline,
        servers: str,
        *,
        upto: Callable[[], Awaitable[Mapping[Place, int]]],
        rest: Callable[[int], Awaitable[None]],
        records_max: int = BATCH_RECORDS_MAX,
    ) -> None:
        self._discipline = discipline
        self._servers = servers
        self._upto = upto
        self._rest = rest
        self._records_max = records_max

    async def run(self) -> None:
        """Hear until cancelled. Raises `Transient` when an engine is away; run it again then."""
        reader = Alone(self._servers, POLL_MS)
        self._discipline.steer = reader
        assigned: set[Place] = set()
        async with reader.running():
            while True:
                upto = await self._upto()
                if upto.keys() != assigned:
                    reader.assign(upto)
                    await self._discipline.assigned(list(upto))
                    assigned = set(upto)
                await self._rest(await self._round(reader, upto))

    async def _round(self, reader: Alone, upto: Mapping[Place, int]) -> int:
        expected = self._discipline.expected
        behind = [place for place, end in upto.items() if expected.get(place, end) < end]
        if not behind or self._discipline.breaker_open:
            await self._discipline.write_down()  # whoever waits for us to come level reads it there
            return 0
        records = {}
        for place, raws in (await reader.some(behind, self._records_max)).items():
            records[place] = [raw for raw in raws if raw.offset < upto[place]]
            if len(records[place]) < len(raws):
                reader.seek(place, upto[place])
        await self._discipline.poll({place: raws for place, raws in records.items() if raws})
        return sum(map(len, records.values()))
