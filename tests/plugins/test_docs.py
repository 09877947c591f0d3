"""``docs/plugins.md`` shows what is there, and what is there is in it."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pushd import plugins
from pushd.plugins.handle import BrokerHandle
from pushd.plugins.loading import INSTEAD_OF
from pushd.plugins.plugin import HOOKS
from pushd.testing import Device, MemoryBroker, use

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/plugins.md").read_text("utf-8")
SOURCES = [*ROOT.glob("docs/examples/*.py"), *ROOT.glob("tests/plugins/*.py")]


class PageTests(SynchronousTestCase):
    def test_code_is_that_of_the_files(self) -> None:
        """Each example is a piece of a file that tests run."""
        blocks = re.findall(r"```python\n(.+?)\n```", PAGE, re.DOTALL)
        texts = [path.read_text("utf-8") for path in SOURCES]
        assert len(blocks) == 3
        for block in blocks:
            assert any(block in text for text in texts), block[:60]

    def test_names_are_explained(self) -> None:
        """Every hook, every public name, and all that the handle and a device can do."""
        names = [*HOOKS, "start", "stop", *plugins.__all__]
        for holder in (BrokerHandle, Device, plugins.Message, plugins.ClientInfo):
            names += [name for name in vars(holder) if not name.startswith("_")]
        internal = {"IPushdPlugin", "PeerCertificate", "Verdict", "connect", "send", "disconnect_code"}
        of_clients = {"client_id", "username", "address", "listener", "version"}
        for name in set(names) - internal - of_clients:
            assert re.search(rf"\b{name}\b", PAGE), name

    def test_files_exist(self) -> None:
        """Links lead somewhere; so does what a refused C library is told."""
        for link in re.findall(r"\]\(([^)#]+)\)", PAGE):
            assert (ROOT / "docs" / link).exists(), link
        for text in INSTEAD_OF.values():
            for path in re.findall(r"docs/\S+\.(?:md|py)", text):
                assert (ROOT / path).exists(), path

    def test_the_first_plugin(self) -> None:
        """It does what it says."""
        start = PAGE.index("    from pushd.plugins import ALLOW, DENY, IGNORE")
        code = PAGE[start : PAGE.index("and two lines of the settings")].replace("\n    ", "\n")
        path = Path(self.mktemp())
        path = path.with_name("office.py")
        path.write_text(code.strip() + "\n")
        with MemoryBroker(use(str(path), network="192.0.2.", max_clients=1)) as broker:
            assert broker.connect("a").code is plugins.ReasonCode.SUCCESS
            assert broker.connect("b").code is plugins.ReasonCode.NOT_AUTHORIZED
