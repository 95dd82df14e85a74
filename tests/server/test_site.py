"""What ``serve`` was given: its faults are logged and counted."""

from __future__ import annotations

import pytest

from trio_websock import Options, Request
from trio_websock.server.ledger import Ledger
from trio_websock.server.site import site_for


async def test_a_fault_of_the_application_is_logged_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger()
    await site_for(lambda request: 1 / 0, Options(), ledger).answer(Request("GET", "/a"))
    (record,) = caplog.records
    assert (record.name, ledger.application_errors) == ("trio_websock.server", 1)
    assert record.getMessage() == "the application function failed at GET /a"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
