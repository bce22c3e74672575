"""Whose trace a request is in, as far as its header can be trusted."""

import pytest

from shared.tracing import traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("header", "read"),
    [
        (GOOD, GOOD),
        (f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-00"),
        (f"cc-{TRACE}-{SPAN}-01", GOOD),
        (f"cc-{TRACE}-{SPAN}-01-what-a-later-version-adds", GOOD),
        (f"cc-{TRACE}-{SPAN}-01.what-no-version-adds", ""),
        (f"{GOOD}-more", ""),
        (f"ff-{TRACE}-{SPAN}-01", ""),
        (f"00-{'0' * 32}-{SPAN}-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        (GOOD.upper(), ""),
        (GOOD[:-1], ""),
        (f"{GOOD}\n", ""),
        (f" {GOOD}", ""),
        ("", ""),
    ],
)
def test_a_traceparent_is_read_as_the_standard_has_it_or_not_at_all(header: str, read: str) -> None:
    assert traceparent.valid(header) == read
    assert traceparent.trace_id(header) == (TRACE if read else "")


def test_a_trace_of_its_own_is_valid_counts_as_recorded_and_is_nobody_elses() -> None:
    one, other = traceparent.fresh(), traceparent.fresh()
    assert traceparent.valid(one) == one
    assert one.endswith("-01")
    assert traceparent.trace_id(one) != traceparent.trace_id(other)
