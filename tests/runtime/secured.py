"""What the tests of connections under TLS share."""

import asyncio
import datetime
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from phalanx.api.tls import TLS
from phalanx.runtime.credentials import Contexts, Credentials
from phalanx.runtime.loop import run
from phalanx.runtime.transport import TcpTransport
from tests.certificates import HOST, Authority
from tests.runtime.toys import PATIENCE_S, Ear, running

HOUR = datetime.timedelta(hours=1)


def _on(
    start: Callable[[Coroutine[Any, Any, None]], None],
) -> Callable[[Callable[[], Coroutine[Any, Any, None]]], None]:
    def begin(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def limited() -> None:
            async with asyncio.timeout(PATIENCE_S):
                await work()

        start(limited())

    return begin


on_either_loop = pytest.mark.parametrize("on_loop", [_on(run), _on(asyncio.run)], ids=["uvloop", "asyncio"])
"""`on_loop` runs a test's coroutine on either loop: both are in use."""

OnLoop = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


@asynccontextmanager
async def node(tls: TLS | Credentials | None) -> AsyncIterator[tuple[TcpTransport, Ear]]:
    credentials = tls.credentials(HOST) if isinstance(tls, TLS) else tls
    async with running(await TcpTransport.listen(HOST, 0, tls=credentials)) as started:
        yield started


def client(tls: TLS | Credentials | None) -> AbstractAsyncContextManager[tuple[TcpTransport, Ear]]:
    credentials = tls.credentials() if isinstance(tls, TLS) else tls
    return running(TcpTransport.client(tls=credentials))


async def until(holds: Callable[[], object]) -> None:
    while not holds():
        await asyncio.sleep(0)


class Shown(Credentials):
    """Files as they are, whatever others would say to them: they may have been sound when they were read."""

    def __init__(self, tls: TLS, *, with_certificate: bool = True) -> None:
        self.made = Contexts(Path(tls.certificate), Path(tls.key), Path(tls.authorities))
        if not with_certificate:
            self.made.client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self.made.client.load_verify_locations(tls.authorities)

    def contexts(self) -> Contexts:
        return self.made


def of_authority(tls: TLS, authority: Authority) -> TLS:
    """That certificate, and others are to be of that authority."""
    return TLS(certificate=tls.certificate, key=tls.key, authorities=authority.file)


def stranger(authority: Authority, directory: Path) -> Shown:
    return Shown(of_authority(Authority(directory, "other").node("stranger"), authority))


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
