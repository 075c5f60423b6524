"""docs/tls.md: its shell commands make what it says that they make."""

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

import phalanx
from phalanx.errors import ConfigurationError
from phalanx.runtime import handshakes, tls
from phalanx.runtime.connection import HANDSHAKE_S_MAX
from phalanx.runtime.loop import run
from phalanx.runtime.refusals import _ALERTS, _FAULTS, _VERDICTS, CROWDED, ENDED, LATE, LONG, TLS_UNWANTED
from tests.api.cluster import PATIENCE_S
from tests.source import ROOT
from tests.test_docs import blocks_in

PAGE = (ROOT / "docs" / "tls.md").read_text(encoding="utf-8")
SHELL = [block.text for block in blocks_in(PAGE) if block.info == "sh"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl")
def test_the_commands_of_the_page_make_an_authority_members_and_clients(tmp_path: Path) -> None:
    assert len(SHELL) == 4
    for commands in SHELL:
        done = subprocess.run(["sh", "-e", "-c", commands], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def of(name: str) -> phalanx.TLS:
        names = (tmp_path / f"{name}.crt", tmp_path / f"{name}.key", tmp_path / "authority.crt")
        return phalanx.TLS(certificate=names[0], key=names[1], authorities=names[2])

    async def work() -> None:
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(ConfigurationError):
                async with phalanx.join("x", bootstrap=True, tls=of("client")):
                    pytest.fail("a client's certificate is no member's")
            async with (
                phalanx.join("a", bootstrap=True, objects={"KV": (phalanx.KV, 0)}, tls=of("a")) as process,
                phalanx.connect(process.address, tls=of("client")) as client,
            ):
                await client.kv().put(b"k", b"v")
                assert not process.refusals

    run(work())


def test_the_page_names_every_kind_of_refusal_and_every_limit() -> None:
    kinds = {each.kind for each in (CROWDED, ENDED, LATE, LONG, TLS_UNWANTED)}
    kinds |= {kind for kind, _ in _FAULTS.values()} | set(_VERDICTS.values()) | {"certificate.other", "handshake.other"}
    kinds |= {f"alert.{kind}" for kind, _ in _ALERTS.values()} | {"alert.other"}
    table = PAGE.partition("| kind |")[2].partition("\n\n")[0]
    for kind in kinds:
        family, _, name = kind.partition(".")
        assert any(f"`{family}." in row and f".{name}`" in row for row in table.splitlines()), kind
    for limit in (
        f"{HANDSHAKE_S_MAX:g} s",
        f"{tls.HANDSHAKE_BYTES_MAX >> 10} KiB",
        f"{handshakes.HANDSHAKES_MAX:,}",
    ):
        assert limit in PAGE
    assert handshakes.HANDSHAKES_A_TURN == 8
