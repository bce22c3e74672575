"""The manifests, rendered once for all tests of a worker."""

from pathlib import Path

import pytest

from tests.deployment.manifests import ROOTS, SERVICES, Manifests, copy_of_k8s, rendered


@pytest.fixture(scope="session")
def renderings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Manifests]:
    """`k8s/` and its overlays."""
    urls = {f"REDIS_URL_{name.upper()}": f"rediss://{name}:word@redis.example.com:6380/0" for name in SERVICES}
    more = {**urls, "OPENAI_API_KEY": "sk"}
    folder: Path = copy_of_k8s(tmp_path_factory.mktemp("k8s"), **more)
    return {root: rendered(folder / root) for root in ROOTS}


@pytest.fixture(scope="session")
def fleet(renderings: dict[str, Manifests]) -> Manifests:
    """`k8s/` itself."""
    return renderings["k8s"]


@pytest.fixture(params=ROOTS)
def any_rendering(request: pytest.FixtureRequest, renderings: dict[str, Manifests]) -> Manifests:
    """Each of them in turn."""
    return renderings[request.param]
