"""The queries of the dashboard and the alerts, taken apart."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import promql_parser as promql
import yaml
from promql_parser import MatchOp, VectorSelector

from tests.processes import ROOT

MONITORING = ROOT / "k8s" / "monitoring"
OF_TARGETS = {"instance", "job", "le"}
"""Labels that Prometheus adds to every sample, and that of a histogram's buckets."""


@dataclass(frozen=True)
class Selected:
    """Samples that a query asks for: by name, and by labels with the values that it names."""

    name: str
    labels: dict[str, tuple[str, ...]]


def rules() -> list[dict[str, Any]]:
    """The alerts of the file for a Prometheus by itself."""
    groups = yaml.safe_load((MONITORING / "rules.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels, without headings."""
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    return [panel for panel in panels if panel["type"] != "row"]


@cache
def queries() -> Mapping[str, str]:
    """All of them by where they stand, as Prometheus gets them."""
    found = {rule["alert"]: rule["expr"] for rule in rules()}
    for panel in panels():
        found |= {f"{panel['title']} {target['refId']}": target["expr"] for target in panel["targets"]}
    return {where: query.replace("$__rate_interval", "5m") for where, query in found.items()}


def selected(query: str) -> list[Selected]:
    """What a query asks for.

    Raises:
        ValueError: it is no PromQL.
    """
    found: list[Selected] = []

    def visit(node: object) -> None:
        if isinstance(node, VectorSelector):
            found.append(Selected(str(node.name), {one.name: _values(one) for one in node.matchers.matchers}))

    promql.walk(promql.parse(query), visit)
    return found


def grouped(query: str) -> set[str]:
    """The labels that it groups or joins by."""
    names = re.findall(r"\b(?:by|on) \(([^)]*)\)", query)
    return {name.strip() for some in names for name in some.split(",")}


def _values(matcher: promql.Matcher) -> tuple[str, ...]:
    if matcher.op in (MatchOp.Equal, MatchOp.NotEqual):
        return (matcher.value,)
    return tuple(matcher.value.split("|"))
