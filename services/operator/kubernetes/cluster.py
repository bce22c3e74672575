"""The Kubernetes API as the operator uses it: JSON in, JSON out, one error.

Objects stay plain JSON, so that fields which are newer than the client's models are neither lost nor refused.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec
from aiohttp import ClientError, ClientTimeout
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

ANSWER_S = 5.0
"""The API has this long for an answer: an operator that waits for it must not lose its share of the launches."""
LIST_S = 30.0
"""And this long for a list, which grows with the fleet, and which no launch waits for."""
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
CONNECTIONS = 32

Json: TypeAlias = dict[str, Any]
Kind: TypeAlias = Literal["jobs", "pods", "deployments", "events"]

GROUPS: dict[Kind, str] = {"jobs": "apis/batch/v1", "deployments": "apis/apps/v1", "pods": "api/v1", "events": "api/v1"}


class ClusterError(Exception):
    """The API refused, or did not answer (status 0); the text is the server's own."""

    def __init__(self, status: int, reason: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after_s = retry_after_s

    @property
    def refused(self) -> bool:
        """Whether the same request gets the same answer until somebody changes something in the cluster."""
        return 400 <= self.status < 500 and self.status not in {408, 409, 410, 429}


class Event(msgspec.Struct):
    """A line of a watch: what happened (`ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK`) to which object."""

    type: str
    object: Json


class Cluster:
    """One namespace of one cluster. Every call raises `ClusterError`."""

    def __init__(self, client: Any, namespace: str) -> None:
        self._client = client
        self.namespace = namespace

    async def list(self, kind: Kind, selector: Mapping[str, str]) -> Json:
        """The objects of a kind, with the version of the list."""
        return await self._json("GET", self._path(kind), query=selector, answer_s=LIST_S)

    async def create(self, kind: Kind, body: Json) -> Json:
        """A new object."""
        return await self._json("POST", self._path(kind), body)

    async def delete(self, kind: Kind, name: str, body: Json) -> Json:
        """Away with it; `body` is `DeleteOptions`."""
        return await self._json("DELETE", f"{self._path(kind)}/{name}", body)

    async def merge(self, kind: Kind, name: str, body: Json) -> Json:
        """Change some fields; `name` may lead to a subresource. With a `resourceVersion` only if nobody was faster."""
        return await self._json("PATCH", f"{self._path(kind)}/{name}", body, content="application/merge-patch+json")

    async def allows(self, verb: str, group: str, resource: str, subresource: str = "", name: str = "") -> bool:
        """Whether whoever asks may do this here."""
        asked = {"verb": verb, "group": group, "resource": resource, "subresource": subresource, "name": name}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"namespace": self.namespace, **asked}},
        }
        answer = await self._json("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
        return bool(answer["status"]["allowed"])

    @asynccontextmanager
    async def watch(
        self, kind: Kind, query: Mapping[str, str], silence_s: float
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """What happens to objects of a kind; ends when the server ends it, or says nothing for too long."""
        patience = ClientTimeout(total=None, sock_connect=ANSWER_S, sock_read=silence_s)
        with _translated():
            response = await self._call("GET", self._path(kind), query=query, patience=patience)
        try:
            if response.status != 200:
                with _translated():
                    raise _refusal(response.status, await response.read(), response.headers)
            yield _lines(response)
        finally:
            response.close()

    def _path(self, kind: Kind) -> str:
        return f"/{GROUPS[kind]}/namespaces/{self.namespace}/{kind}"

    async def _json(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content: str = "application/json",
        answer_s: float | None = None,
    ) -> Json:
        with _translated():
            patience = ClientTimeout(total=answer_s or ANSWER_S, sock_connect=ANSWER_S)
            response = await self._call(method, path, body=body, query=query or {}, patience=patience, content=content)
            async with response:
                answer = await response.read()
                if response.status >= 300:
                    raise _refusal(response.status, answer, response.headers)
                found: Json = msgspec.json.decode(answer)
        return found

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str],
        patience: ClientTimeout,
        body: Json | None = None,
        content: str = "application/json",
    ) -> Any:
        parts = await self._client.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params={"Accept": "application/json", "Content-Type": content},
            body=body,
            auth_settings=["BearerToken"],
        )
        return (await self._client.call_api(*parts, _request_timeout=patience)).response


@asynccontextmanager
async def connect() -> AsyncIterator[Cluster]:
    """The cluster that this Pod runs in; or the one of the kubeconfig's current context. Nothing is sent yet."""
    settings = Configuration()
    settings.connection_pool_maxsize = CONNECTIONS
    # Python 3.13 wants more of a certificate authority than RFC 5280 does, and than those of many clusters have.
    settings.disable_strict_ssl_verification = True
    try:
        in_cluster: Any = config.load_incluster_config
        in_cluster(client_configuration=settings)
        namespace = NAMESPACE_FILE.read_text().strip()  # noqa: ASYNC240 - once, before anything waits
    except config.ConfigException:
        kubeconfig: Any = config.load_kube_config
        loader = await kubeconfig(client_configuration=settings, persist_config=False)
        namespace = loader.current_context["context"].get("namespace", "default")
    async with ApiClient(settings) as client:
        yield Cluster(client, namespace)


async def _lines(response: Any) -> AsyncIterator[Event]:
    while True:
        with _translated():
            line = await response.content.readline()
            # Also a line without its end, of a connection that broke in the middle.
            if not line.endswith(b"\n"):
                return
            # What is none, such as a proxy's or a dying server's last word, is no answer.
            event = msgspec.json.decode(line, type=Event)
        if event.type == "ERROR":
            status = event.object
            raise ClusterError(status.get("code", 0), status.get("reason", ""), status.get("message", ""))
        yield event


def _refusal(status: int, answer: bytes, headers: Mapping[str, str]) -> ClusterError:
    try:
        told = msgspec.json.decode(answer, type=_Status)
    except msgspec.DecodeError:
        told = _Status(message=answer.decode(errors="replace")[:500])
    retry_after = headers.get("Retry-After", "")
    wait_s = float(retry_after) if retry_after.isdigit() else None
    return ClusterError(status, told.reason, told.message or f"the Kubernetes API answered {status}", wait_s)


class _Status(msgspec.Struct):
    """What the API says about a refusal."""

    reason: str = ""
    message: str = ""


@contextmanager
def _translated() -> Any:
    try:
        yield
    except (ClientError, TimeoutError, OSError, ValueError) as error:
        # ValueError: what came is no JSON, or a line without an end.
        text = f"the Kubernetes API did not answer: {str(error) or type(error).__name__}"
        raise ClusterError(0, "Unreachable", text) from error
