"""Several containers stopped at once: together they take as long as the slowest of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kleene.cli.session import Session

_AT_ONCE = 32
"""Connections to the daemon at a time: one that stops a container waits until it has stopped."""


def stopped(
    session: Session, containers: Sequence[str], grace: float | None
) -> Callable[[str], str]:
    """Stop containers; a function that tells of each its id, or raises the KleeneError that came of it.

    Args:
        grace: seconds between the request to end and the kill; ``None``: as each container says.
    """
    if len(containers) == 1:  # asyncio would be dear for that
        return lambda name: session.client.containers.stop(name, timeout=grace)
    import asyncio

    client = session.async_client
    found: dict[str, str | BaseException] = {}

    async def stop_all() -> None:
        places = asyncio.Semaphore(_AT_ONCE)

        async def stop(name: str) -> str:
            async with places:
                return await client.containers.stop(name, timeout=grace)

        names = list(dict.fromkeys(containers))
        work = (stop(name) for name in names)
        found.update(zip(names, await asyncio.gather(*work, return_exceptions=True), strict=True))

    asyncio.run(stop_all())

    def of(name: str) -> str:
        outcome = found[name]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return of
