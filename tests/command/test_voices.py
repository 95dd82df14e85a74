"""Who is told what, and where."""

from __future__ import annotations

import os
import sys

import pytest

from trio_websock import ConnectFailed, ConnectionClosed
from trio_websock.command.events import Closed, Failed, Noted, Pinged, Ponged, Received
from trio_websock.command.voices import JsonVoice, PlainVoice, TerminalVoice, complain

CLEAN = Closed(ConnectionClosed(1000, "", "us"))
ABNORMAL = Closed(ConnectionClosed(4000, "why", "peer"))
FAILED = Failed(ConnectFailed("nobody listens"))


class Lines(list):
    """A sink that keeps what it is given."""

    put_nowait = list.append

    async def wait_room(self):
        self.append("waited")


def test_a_script_gets_the_messages_and_no_more(capsys):
    lines = Lines()
    voice = PlainVoice(lines, is_verbose=False, is_terminal=False)
    for event in (Received("a\x1b"), Pinged(b""), Received(b"\xff"), CLEAN):
        voice.tell(event)
    assert lines == ["a\x1b", "ff"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("event", [ABNORMAL, FAILED, Noted("no")])
def test_a_script_is_told_what_went_wrong_beside_its_output(capsys, event):
    lines = Lines()
    PlainVoice(lines, is_verbose=False, is_terminal=False).tell(event)
    assert lines == []
    assert capsys.readouterr().err.startswith("trio_websock: ")


def test_who_wants_more_gets_it_beside_the_output(capsys):
    lines = Lines()
    PlainVoice(lines, is_verbose=True, is_terminal=False).tell(Pinged(b"x"))
    assert (lines, capsys.readouterr().err) == ([], "trio_websock: ping: x\n")


def test_on_a_terminal_even_plain_messages_are_harmless():
    lines = Lines()
    PlainVoice(lines, is_verbose=False, is_terminal=True).tell(Received("\x1b[2J"))
    assert lines == ["\\x1b[2J"]


def test_a_program_gets_every_event(capsys):
    lines = Lines()
    voice = JsonVoice(lines)
    for event in (Received("a"), Pinged(b""), CLEAN):
        voice.tell(event)
    assert len(lines) == 3
    assert capsys.readouterr().err == ""


def test_a_program_gets_a_failure_and_people_are_told_too(capsys):
    lines = Lines()
    JsonVoice(lines).tell(FAILED)
    assert '"error": "ConnectFailed"' in lines[0]
    assert capsys.readouterr().err == "trio_websock: nobody listens\n"


def test_a_program_gets_no_remarks(capsys):
    lines = Lines()
    JsonVoice(lines).tell(Noted("for people"))
    assert lines == []
    assert "for people" in capsys.readouterr().err


def test_a_terminal_shows_everything(capsys):
    lines = Lines()
    voice = TerminalVoice(lines)
    for event in (Received("a"), Pinged(b""), CLEAN):
        voice.tell(event)
    assert lines == ["< a", "* ping", "* closed with 1000 (normal closure)"]
    voice.tell(FAILED)
    assert capsys.readouterr().err == "trio_websock: nobody listens\n"


@pytest.mark.parametrize(
    "voice_over", [JsonVoice, TerminalVoice, lambda lines: PlainVoice(lines, is_verbose=False, is_terminal=False)]
)
async def test_whoever_tells_waits_for_the_sink(voice_over):
    lines = Lines()
    await voice_over(lines).wait_room()
    assert lines == ["waited"]


def test_keepalive_is_told_to_programs_only(capsys):
    programs, scripts, people = Lines(), Lines(), Lines()
    for voice in (JsonVoice(programs), PlainVoice(scripts, is_verbose=True, is_terminal=False), TerminalVoice(people)):
        voice.tell(Ponged(b"four", 0.5, is_keepalive=True))
    assert programs == ['{"event": "pong", "data": "Zm91cg==", "latency": 0.5}']
    assert scripts == people == []
    assert capsys.readouterr().err == ""


def test_a_complaint_holds_no_control_characters(capsys):
    complain("a\x1bb")
    assert capsys.readouterr().err == "trio_websock: a\\x1bb\n"


def test_without_a_standard_error_there_is_no_complaint_among_the_messages(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    complain("nobody listens")
    assert capsys.readouterr().out == ""


def test_a_complaint_that_nobody_reads_changes_nothing(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(sys, "stderr", open(writer, "w"))  # noqa: SIM115  # closed below
    complain("nobody listens")
    with pytest.raises(BrokenPipeError):
        sys.stderr.close()  # which tries again
