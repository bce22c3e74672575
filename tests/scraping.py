"""What Prometheus would read of a process, read by its own parser."""

from collections.abc import Iterable
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

OURS = "pipefleet_"


@dataclass(frozen=True)
class Scraped:
    """The samples of some processes, side by side as Prometheus has them."""

    samples: tuple[Sample, ...]
    types: dict[str, str]
    """Of each of our metrics, by the name under which it is documented: a counter's ends in `_total`."""

    def __add__(self, other: "Scraped") -> "Scraped":
        return Scraped(self.samples + other.samples, self.types | other.types)

    def total(self, name: str, **labels: str) -> float:
        """The sum over all samples of this name that have these labels; 0 if there are none."""
        return sum(sample.value for sample in self.named(name) if labels.items() <= sample.labels.items())

    def named(self, name: str) -> list[Sample]:
        return [sample for sample in self.samples if sample.name == name]

    def labels(self) -> dict[str, set[str]]:
        """Of each name that a query can use, the labels that its samples have."""
        found: dict[str, set[str]] = {}
        for sample in self.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
        return found


def read(text: str) -> Scraped:
    """The metrics of an answer."""
    families = list(text_string_to_metric_families(text))
    names = {family.name + ("_total" if family.type == "counter" else ""): family.type for family in families}
    samples = tuple(sample for family in families for sample in family.samples)
    return Scraped(samples, {name: kind for name, kind in names.items() if name.startswith(OURS)})


async def scrape(ports: Iterable[int | str]) -> Scraped:
    """The metrics of the processes on these ports of this machine."""
    found = Scraped((), {})
    async with httpx.AsyncClient() as http:
        for port in ports:
            answer = await http.get(f"http://127.0.0.1:{port}/metrics")
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
            found += read(answer.text)
    return found
