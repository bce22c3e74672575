"""The HTTP side of the cluster: paths, authentication, access, faults, and then the operation."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from tests.fakes.kubernetes_api.access import Rule, Wish, check_access, reviewed, unauthorized
from tests.fakes.kubernetes_api.faults import Faults
from tests.fakes.kubernetes_api.listing import asked_version, listed
from tests.fakes.kubernetes_api.operations import SCALE, DeleteOptions, Operations, has_scale, scale_of, scaled
from tests.fakes.kubernetes_api.patching import patched
from tests.fakes.kubernetes_api.paths import wish_of
from tests.fakes.kubernetes_api.resources import ACCESS_REVIEWS, JOBS, PODS
from tests.fakes.kubernetes_api.schemas import decode
from tests.fakes.kubernetes_api.selecting import Selector, by_fields, by_labels
from tests.fakes.kubernetes_api.statuses import ApiError, Object
from tests.fakes.kubernetes_api.store import Store
from tests.fakes.kubernetes_api.watching import Command, CutError, Watch

_ORPHANING = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set "
    "propagationPolicy=Orphan to suppress this warning"
)


@dataclass
class Request:
    """One line of the log; the status is 0 until there is one."""

    at: float
    user: str
    method: str
    path: str
    query: Mapping[str, str]
    verb: str = ""
    kind: str = ""
    name: str = ""
    body: Any = None
    status: int = 0


@dataclass
class Users:
    """Who has which token, and what they may do."""

    tokens: dict[str, str]
    rules: Callable[[str], Iterable[Rule]]


class HttpServer:
    """Serves one store on a port of loopback; `stop` and `start` keep state and port."""

    def __init__(self, store: Store, operations: Operations, users: Users) -> None:
        self.faults = Faults()
        self.requests: list[Request] = []
        self.used: set[tuple[str, str, str]] = set()
        self.strict = False
        self.port = 0
        self._store = store
        self._operations = operations
        self._users = users
        self._watches: set[Watch] = set()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Returns when it is listening."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Nobody is reached any more; running watches are cut."""
        if self._runner:
            self.command("cut")
            await self._runner.cleanup()
            self._runner = None

    @property
    def watching(self) -> int:
        """How many watches run."""
        return len(self._watches)

    def command(self, command: Command) -> None:
        """To all running watches."""
        for watch in self._watches:
            watch.commands.append(command)
        self._store.wake()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        line = Request(time.time(), "", request.method, request.path, dict(request.query))
        self.requests.append(line)
        try:
            answer = await self._answer(request, line)
        except ApiError as error:
            headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else {}
            answer = _json(error.status(), error.code, headers)
        line.status = answer.status
        return answer

    async def _answer(self, request: web.Request, line: Request) -> web.StreamResponse:
        line.user = self._user(request)
        wish = wish_of(request.method, request.path, request.query)
        line.verb, line.kind, line.name = wish.verb, wish.kind, wish.name
        cut = await self.faults.meet(wish)
        if cut == "before":
            return _dropped(request)
        if wish.resource is ACCESS_REVIEWS:  # everyone may ask what they may do
            return _json(
                reviewed(self._users.rules(line.user), self._decoded(wish, request.query, await _body(request))[0]), 201
            )
        check_access(self._users.rules(line.user), line.user, wish)
        self.used.add(wish.used)
        line.body = await _body(request)
        if wish.verb == "watch":
            return await self._watch(request, wish)
        if "dryRun" in request.query:
            raise ApiError(501, "this stand-in for a cluster has no dryRun")
        answer = self._operate(request, wish, line.body)
        return _dropped(request) if cut else answer

    def _user(self, request: web.Request) -> str:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self._users.tokens:
            raise unauthorized()
        return self._users.tokens[token]

    def _operate(self, request: web.Request, wish: Wish, body: Any) -> web.Response:
        query, resource = request.query, wish.resource
        match wish.verb:
            case "list":
                return _json(listed(self._store, resource, wish.namespace, _selected(wish, query), query))
            case "create":
                item, warnings = self._decoded(wish, query, body)
                return _json(self._operations.create(resource, wish.namespace, item), 201, _warned(warnings))
            case "get":
                item = self._get(wish)
                return _json(scale_of(item) if wish.subresource == "scale" else item)
            case "update" | "patch":
                return self._write(wish, request, body)
            case "delete":
                return self._delete(wish, query, body)
        return self._delete_all(wish, query, body)

    def _get(self, wish: Wish) -> Object:
        namespace = wish.namespace if wish.resource.namespaced else ""
        allowed = {
            "",
            *(["status"] if wish.resource.has_status else []),
            *(["scale"] if has_scale(wish.resource) else []),
        }
        if wish.subresource not in allowed:
            raise ApiError(404, "the server could not find the requested resource")
        return self._store.get(wish.resource, namespace, wish.name)

    def _decoded(self, wish: Wish, query: Mapping[str, str], body: Any) -> tuple[Object, list[str]]:
        resource = SCALE if wish.subresource == "scale" else wish.resource
        mode = query.get("fieldValidation") or ("Strict" if self.strict else "Warn")
        item, warnings = decode(resource, body, strict=mode == "Strict")
        return item, warnings if mode == "Warn" else []

    def _write(self, wish: Wish, request: web.Request, body: Any) -> web.Response:
        """PUT and PATCH, of an object or of what is below it."""
        before = self._get(wish)
        shown = scale_of(before) if wish.subresource == "scale" else before
        if wish.verb == "patch":
            resource = SCALE if wish.subresource == "scale" else wish.resource
            body = patched(resource, shown, request.content_type, body)
        item, warnings = self._decoded(wish, request.query, body)
        if wish.subresource == "scale":
            after = scale_of(self._operations.update(wish.resource, before, scaled(before, item)))
        else:
            after = self._operations.update(wish.resource, before, item, wish.subresource)
        return _json(after, 200, _warned(warnings))

    def _delete(self, wish: Wish, query: Mapping[str, str], body: Any) -> web.Response:
        item, options = self._get(wish), _delete_options(query, body)
        warnings = [_ORPHANING] if wish.resource is JOBS and not options.policy else []
        kept = self._operations.delete(wish.resource, item, options)
        gone = self._store.find(wish.resource, kept["metadata"].get("namespace", ""), wish.name) is None
        if not gone or wish.resource is PODS:
            return _json(kept, 200, _warned(warnings))
        about = {
            "name": wish.name,
            "group": wish.resource.group,
            "kind": wish.resource.plural,
            "uid": item["metadata"]["uid"],
        }
        success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": about}
        return _json(success, 200, _warned(warnings))

    def _delete_all(self, wish: Wish, query: Mapping[str, str], body: Any) -> web.Response:
        found = listed(self._store, wish.resource, wish.namespace, _selected(wish, query), query)
        for item in found["items"]:
            with suppress(ApiError):
                current = self._store.get(wish.resource, wish.namespace, item["metadata"]["name"])
                self._operations.delete(wish.resource, current, _delete_options(query, body))
        return _json(found)

    async def _watch(self, request: web.Request, wish: Wish) -> web.StreamResponse:
        query = request.query
        version = asked_version(self._store, query)
        timeout_s = float(query["timeoutSeconds"]) if query.get("timeoutSeconds") else None
        initial = query.get("sendInitialEvents") in {"true", "True", "1"}
        watch = Watch(
            wish.resource,
            wish.namespace,
            _selected(wish, query),
            query.get("allowWatchBookmarks") in {"true", "True", "1"},
            timeout_s,
            initial_events_end=initial,
        )
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)

        async def send(event: Object) -> None:
            await response.write(msgspec.json.encode(event) + b"\n")

        self._watches.add(watch)
        try:
            await watch.run(self._store, None if initial else version, send)
        except CutError as cut:
            if cut.in_a_line:
                await response.write(b'{"type":"MODIFIED","object":{"kind":')
            return _dropped(request)
        except ConnectionError:
            pass  # the client is gone
        finally:
            self._watches.discard(watch)
        return response


def _selected(wish: Wish, query: Mapping[str, str]) -> Selector:
    labels = by_labels(query.get("labelSelector", ""))
    fields = by_fields(wish.resource, query.get("fieldSelector", ""))
    return lambda item: labels(item) and fields(item)


async def _body(request: web.Request) -> Any:
    data = await request.read()
    if not data:
        return None
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise ApiError(400, f"couldn't get version/kind; json parse error: {error}") from None


def _delete_options(query: Mapping[str, str], body: Any) -> DeleteOptions:
    options = {
        **(body or {}),
        **{key: query[key] for key in ("propagationPolicy", "gracePeriodSeconds") if key in query},
    }
    policy = options.get("propagationPolicy") or ""
    if "orphanDependents" in options:
        policy = "Orphan" if options["orphanDependents"] else "Background"
    if policy not in {"", "Orphan", "Background", "Foreground"}:
        raise ApiError(
            422, f'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "{policy}"'
        )
    grace = options.get("gracePeriodSeconds")
    preconditions = options.get("preconditions") or {}
    return DeleteOptions(
        policy=policy,  # type: ignore[arg-type]
        grace_s=None if grace is None else int(grace),
        uid=preconditions.get("uid") or "",
        version=preconditions.get("resourceVersion") or "",
    )


def _warned(warnings: Iterable[str]) -> Mapping[str, str]:
    text = ", ".join('299 - "' + warning.replace("\\", "\\\\").replace('"', '\\"') + '"' for warning in warnings)
    return {"Warning": text} if text else {}


def _json(body: Object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, headers=headers, content_type="application/json")


def _dropped(request: web.Request) -> web.Response:
    """Cut the connection; what is returned reaches nobody."""
    if request.transport:
        request.transport.abort()
    return web.Response(status=499)
