"""Masking keys: fresh for every frame, in every process."""

from __future__ import annotations

import subprocess
import sys

from trio_websock import Opcode
from trio_websock.protocol.frames import Role
from trio_websock.protocol.keys import new_masking_keys
from trio_websock.protocol.machine import Limits, Machine

LIMITS = Limits(max_message_size=None, max_frame_size=None, max_empty_fragments=1, validate_utf8=True)

FORK = """
import os
from trio_websock.protocol.keys import new_masking_keys

new_masking_keys(1)
child = os.fork()
if child:
    os.waitpid(child, 0)
os.write(1, new_masking_keys(1).hex().encode() + b" ")
os._exit(0)
"""


def test_a_key_has_four_bytes_also_across_the_end_of_the_pool():
    assert {len(new_masking_keys(1)) for _ in range(3000)} == {4}


def test_keys_are_not_given_out_twice():
    # By chance a few of 3,000 random keys of 32 bits may be equal; a pool used twice would repeat a thousand.
    assert len({new_masking_keys(1) for _ in range(3000)}) > 2990


def test_keys_for_many_frames_come_as_one():
    keys = new_masking_keys(1000)
    assert len({keys[start : start + 4] for start in range(0, 4000, 4)}) > 990


def test_a_child_process_has_keys_of_its_own():
    # In a process without threads, as forking one with threads is not done.
    printed = subprocess.run([sys.executable, "-c", FORK], capture_output=True, check=True).stdout.split()
    assert len(printed) == 2
    assert printed[0] != printed[1]


def test_two_frames_with_one_payload_differ_on_the_wire():
    machine = Machine(Role.CLIENT, LIMITS)
    machine.send_message((Opcode.BINARY, b"same"))
    machine.send_message((Opcode.BINARY, b"same"))
    data = machine.data_to_send()[0]
    assert data[:10] != data[10:]
