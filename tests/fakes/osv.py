"""A stand-in for the vulnerability database that `make audit` asks: OSV's API, as far as uv uses it.

https://google.github.io/osv.dev/post-v1-querybatch/ and https://google.github.io/osv.dev/get-v1-vulns/
"""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import msgspec

MODIFIED = "2026-01-01T00:00:00Z"


class _Package(msgspec.Struct):
    name: str


class _Query(msgspec.Struct):
    package: _Package
    version: str


class _Batch(msgspec.Struct):
    queries: list[_Query]


@contextmanager
def osv(vulnerable: str, asked: dict[str, str]) -> Iterator[str]:
    """The URL of a database that knows of one vulnerability; `asked` gets every package with its version."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            queries = msgspec.json.decode(body, type=_Batch).queries
            asked.update((query.package.name, query.version) for query in queries)
            known = {"vulns": [{"id": "OSV-1", "modified": MODIFIED}]}
            self._answer({"results": [known if query.package.name == vulnerable else {} for query in queries]})

        def do_GET(self) -> None:
            package = {"package": {"name": vulnerable, "ecosystem": "PyPI"}, "versions": [asked[vulnerable]]}
            self._answer({"id": "OSV-1", "modified": MODIFIED, "summary": "It is bad.", "affected": [package]})

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _answer(self, body: object) -> None:
            encoded = msgspec.json.encode(body)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
