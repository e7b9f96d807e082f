"""A Hugging Face Hub in memory, on a port of this machine: the endpoints that huggingface_hub calls."""

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

COMMIT = "1" * 40
TOKEN = "hf_writes"


@dataclass
class Repository:
    """Files by name, whether it is private, and the summaries of its commits."""

    files: dict[str, bytes] = field(default_factory=dict)
    private: bool = False
    commits: list[str] = field(default_factory=list)


class FakeHub(ThreadingHTTPServer):
    """Repositories by name. One token may write, to every owner but "locked".

    Attributes:
        calls: the method and the path of every request, in order.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories = {"good/one": Repository({"config.json": b"{}"})}
        self.large_files: dict[str, bytes] = {}
        self.calls: list[str] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def writes(self) -> list[str]:
        """The requests that make or change a repository."""
        return [call for call in self.calls if call.startswith("POST /api/repos") or "/commit/" in call]

    def stop(self):
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """The endpoints."""

    server: FakeHub

    def do_GET(self):
        self.note()
        path = unquote(self.path.partition("?")[0])
        if path == "/api/whoami-v2":
            self.json({"name": "me", "type": "user"}) if self.may_write() else self.json({"error": "no"}, 401)
        elif path.startswith("/api/models/"):
            self.about(*path.removeprefix("/api/models/").split("/", 2))
        else:
            owner, name, _, _, file = path[1:].split("/", 4)
            self.file(f"{owner}/{name}", file)

    do_HEAD = do_GET

    def do_POST(self):
        self.note()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            self.create(json.loads(body))
        elif self.path == "/api/validate-yaml":
            self.json({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            modes = {True: "lfs", False: "regular"}
            files = [each["path"] for each in json.loads(body)["files"]]
            mode = [{"path": f, "uploadMode": modes[f.endswith(".safetensors")], "shouldIgnore": False} for f in files]
            self.json({"files": mode})
        elif self.path.endswith("/info/lfs/objects/batch"):
            places = json.loads(body)["objects"]
            actions = [{"upload": {"href": f"{self.server.address}/large/{each['oid']}"}} for each in places]
            self.json({"objects": [{**each, "actions": a} for each, a in zip(places, actions, strict=True)]})
        else:
            self.commit("/".join(self.path.split("/")[3:5]), [json.loads(line) for line in body.splitlines()])

    def do_PUT(self):
        self.note()
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.large_files[hashlib.sha256(content).hexdigest()] = content
        self.answer(200, b"")

    def note(self):
        self.server.calls.append(f"{self.command} {self.path}")

    def may_write(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def about(self, owner: str, name: str, more: str = ""):
        found = self.server.repositories.get(f"{owner}/{name}")
        if found is None or (found.private and not self.may_write()):
            self.json({}, 404, **{"X-Error-Code": "RepoNotFound"})
        elif more.startswith("tree/"):
            files = found.files.items()
            self.json([{"type": "file", "path": f, "size": len(c), "oid": hash_of(c)[:40]} for f, c in files])
        else:
            siblings = [{"rfilename": file} for file in found.files]
            self.json({"id": f"{owner}/{name}", "sha": COMMIT, "private": found.private, "siblings": siblings})

    def file(self, repository: str, file: str):
        found = self.server.repositories.get(repository)
        if found is None or file not in found.files or (found.private and not self.may_write()):
            self.json({}, 404, **{"X-Error-Code": "EntryNotFound" if found else "RepoNotFound"})
        else:
            content = found.files[file]
            self.answer(200, content, ETag=f'"{hash_of(content)}"', **{"X-Repo-Commit": COMMIT})

    def create(self, asked: dict[str, str]):
        name = f"{asked['organization']}/{asked['name']}"
        if not self.may_write() or asked["organization"] == "locked":
            self.json({"error": "You have no rights to make a repository here"}, 403)
            return
        status = 409 if name in self.server.repositories else 200
        self.server.repositories.setdefault(name, Repository(private=asked.get("visibility") == "private"))
        self.json({"url": f"{self.server.address}/{name}"}, status)

    def commit(self, name: str, lines: list[dict]):
        found = self.server.repositories[name]
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                found.commits.append(value["summary"])
            elif line["key"] == "file":
                found.files[value["path"]] = base64.b64decode(value["content"])
            else:
                found.files[value["path"]] = self.server.large_files[value["oid"]]
        self.json({"commitUrl": f"{self.server.address}/{name}/commit/{COMMIT}", "commitOid": COMMIT})

    def json(self, content: object, status: int = 200, **headers: str):
        self.answer(status, json.dumps(content).encode(), **{"Content-Type": "application/json", **headers})

    def answer(self, status: int, body: bytes, **headers: str):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args):
        pass


def hash_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
