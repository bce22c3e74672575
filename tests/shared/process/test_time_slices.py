"""The kernel's slices of time."""

import subprocess
import sys

import pytest

from shared.process.time_slices import PATIENT_S, PROMPT_S

ASKED = """
import ctypes, os, platform, struct
from shared.process.time_slices import take_turns_of
os.nice(3)
os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
take_turns_of({slice_s})
found = ctypes.create_string_buffer(48)
number = {{"x86_64": 315, "aarch64": 275}}[platform.machine()]
assert ctypes.CDLL(None).syscall(number, 0, found, 48, 0) == 0
_, policy, _, nice, _, runtime, _, _ = struct.unpack("=IIQiIQQQ", found.raw)
newer = tuple(map(int, platform.release().split("-")[0].split(".")[:2])) >= (6, 12)
print(policy == os.SCHED_BATCH, nice, runtime == {slice_s} * 1e9 or not newer)
"""


@pytest.mark.parametrize("slice_s", [PROMPT_S, PATIENT_S])
def test_a_process_has_the_slices_it_asked_for_and_keeps_its_policy_and_its_niceness(slice_s: float) -> None:
    command = [sys.executable, "-c", ASKED.format(slice_s=slice_s)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["True", "3", "True"]
