"""A double of a Kubernetes cluster that the real kubectl accepts, for tests where no cluster is.

It is no cluster, and differs from one at least in this:

- pods are names: `exec` runs real programs of this machine as whoever runs the tests, in no container, over a real
  terminal or real pipes; `attach` gives each caller a program of its own; nothing is scheduled, nothing restarts;
- discovery knows the core group and the two review APIs; there is no OpenAPI, so `kubectl apply` needs
  `--validate=false`; there is no admission, no defaulting, no validation, and no conflict of versions;
- objects come in JSON only: what kubectl sends in protobuf (`create configmap`) is refused with 415, reviews apart;
- a patch of any type is a JSON merge patch (RFC 7386), server-side apply included; lists are replaced, not merged;
- a RoleBinding grants what developers have here, whatever role it names;
- tables have five columns for everything; label selectors know `=` and field selectors `metadata.name=` only;
- a `continue` token is an offset and does not remember the version of the list; watches begin with what is there;
- HTTP/1.1 and WebSockets only: no HTTP/2, no SPDY but in a WebSocket for port-forward (`portforward.py`), behind which
  is a program that speaks in capitals;
- tokens and client certificates are told apart, and nothing checks when they expire; one user may be both;
- audit is a Python list, `Double.seen`.

RBAC, impersonation (users, groups, extras, with resourceNames), Status objects, the channel protocols v5 and v4 and
their negotiation are as a server has them, as far as the tests go: those also run against a real cluster with
`scripts/test --kubernetes KUBECONFIG`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import WSMsgType, web

from tests.kubernetes import portforward
from tests.kubernetes.api import NAMES, Asked, NotUnderstood, asked, group_list, resource_list, review_of
from tests.kubernetes.containers import V4, V5, Programs, run
from tests.kubernetes.pki import Pki
from tests.kubernetes.rbac import Grant, Rbac, User, rule
from tests.kubernetes.storage import NOW, Storage, container_images, pod

BASTION = "bastion"
"""The user that the bastion's own credential is for."""
TOKEN = "the-bastions-own-token-for-the-double"

DEVELOPER = (
    rule("get list watch", "pods namespaces configmaps"),
    rule("get", "pods/log"),
    rule("get create", "pods/exec pods/attach pods/portforward"),
    rule("create update patch delete", "configmaps secrets"),
    rule("get", "secrets"),
)
ADMINISTRATOR = (rule("*", "*", groups=",*"),)

Script = Callable[[web.WebSocketResponse], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A request as the audit log of a cluster has it: who asked, by whom they were impersonated, and for what."""

    user: User
    by: str
    asked: Asked
    allowed: bool


class Refused(Exception):
    def __init__(self, code: int, reason: str, message: str, **details: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details


class Double:
    """`with Double(folder) as double: …`; it runs in a thread of its own."""

    def __init__(self, folder: Path, *, many_pods: int = 0) -> None:
        """*many_pods* is how many there are in the namespace `many`."""
        self.folder = folder
        self.pki = Pki(folder / "pki")
        self.storage = Storage()
        self.rbac = Rbac([
            Grant(subject="sre", rules=ADMINISTRATOR),
            Grant(subject="dev", rules=DEVELOPER, namespace="shop"),
            Grant(subject="dev", rules=(rule("list get", "namespaces"),)),
            Grant(
                subject=BASTION,
                rules=(
                    rule("impersonate", "users"),
                    rule("impersonate", "groups", names=["sre", "dev", "audit"]),
                    rule("impersonate", "userextras/bastion-session", groups="authentication.k8s.io"),
                ),
            ),
            Grant(
                subject="system:authenticated",
                rules=(
                    rule("create", "selfsubjectaccessreviews", groups="authorization.k8s.io"),
                    rule("create", "selfsubjectreviews", groups="authentication.k8s.io"),
                ),
            ),
        ])  # fmt: skip
        self.seen: list[Seen] = []
        self.tokens = {TOKEN: User(name=BASTION)}
        self.protocols: tuple[str, ...] = (V5, V4)
        self.turns_down = ""
        """A protocol that may not even be offered."""
        self.scripts: dict[str, Script] = {}
        """What a pod of that name does on exec and attach instead of running programs."""
        self.port = 0
        self._programs = Programs(folder / "programs")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kubernetes double", daemon=True)
        self._runner: web.AppRunner | None = None
        self._fill(many_pods)

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(10)

    def stop(self) -> None:
        if self._runner is not None:
            asyncio.run_coroutine_threadsafe(self._end(self._runner), self._loop).result(15)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut_streams(self) -> None:
        """Cut every connection that is open, as a server that is killed."""
        server = self._runner.server if self._runner is not None else None
        assert server is not None
        for connection in list(server.connections):
            if connection.transport is not None:
                self._loop.call_soon_threadsafe(connection.transport.abort)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def kubeconfig(
        self, *, user: str = "", groups: tuple[str, ...] = (), file: str = "bastion.kubeconfig"
    ) -> Path:
        """Write a kubeconfig: with the bastion's token, or with a certificate for *user* in *groups*."""
        credential: dict[str, str] = {"token": TOKEN}
        if user:
            certificate, key = self.pki.client(user, *groups)
            credential = {"client-certificate": str(certificate), "client-key": str(key)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "double", "cluster": {"server": self.server, "certificate-authority-data": self.ca}}
            ],
            "users": [{"name": "me", "user": credential}],
            "contexts": [
                {"name": "double", "context": {"cluster": "double", "user": "me", "namespace": "shop"}}
            ],
            "current-context": "double",
        }
        path = self.folder / file
        path.touch(mode=0o600)
        path.write_text(json.dumps(content))  # JSON is YAML
        return path

    @property
    def ca(self) -> str:
        """The CA's certificate, in base64."""
        return base64.b64encode(self.pki.ca.encode()).decode()

    def _fill(self, many_pods: int) -> None:
        for name in ("default", "shop", "kube-system", *(["many"] if many_pods else [])):
            self.storage.put("namespaces", "", name, {"kind": "Namespace", "status": {"phase": "Active"}})
        for made in (
            pod("shop", "api-7d9", {"app": "debian", "side": "busybox"}),
            pod("shop", "bare-0", {"main": "distroless"}),
            pod("shop", "small-0", {"main": "busybox"}),
            pod("shop", "stuck-0", {"main": "debian"}, phase="Pending"),
            pod("default", "web-1", {"main": "debian"}),
            pod("kube-system", "dns-0", {"main": "debian"}),
            *(pod("many", f"worker-{number:05}", {"main": "debian"}) for number in range(many_pods)),
        ):
            self.storage.put("pods", made["metadata"]["namespace"], made["metadata"]["name"], made)

    async def _serve(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.pki.server())
        context.load_verify_locations(cadata=self.pki.ca)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.set_alpn_protocols(["http/1.1"])
        app = web.Application(client_max_size=4 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=context)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _end(self, runner: web.AppRunner) -> None:
        self.storage.end_watches()
        await runner.cleanup()
        handling = asyncio.all_tasks() - {asyncio.current_task()}
        for task in handling:  # of connections that were cut
            task.cancel()
        await asyncio.gather(*handling, return_exceptions=True)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._allowed(request)
        except NotUnderstood as error:
            return _status(404, "NotFound", str(error))
        except Refused as refused:
            return _status(refused.code, refused.reason, refused.message, **refused.details)

    async def _allowed(self, request: web.Request) -> web.StreamResponse:
        user, by = self._who(request)
        want = asked(request.method, request.path, request.query)
        if not want.resource:  # discovery and version are open to all who are known
            self.seen.append(Seen(user=user, by=by, asked=want, allowed=True))
            return self._discovery(want)
        is_allowed = self.rbac.allows(
            user, want.verb, want.kind, group=want.group, namespace=want.namespace, name=want.name
        )
        self.seen.append(Seen(user=user, by=by, asked=want, allowed=is_allowed))
        if not is_allowed:
            where = f' in the namespace "{want.namespace}"' if want.namespace else " at the cluster scope"
            name = (
                f'{want.resource}{"." + want.group if want.group else ""} "{want.name}"'
                if want.name
                else want.resource
            )
            raise Refused(
                403,
                "Forbidden",
                f'{name} is forbidden: User "{user.name}" cannot {want.verb} resource "{want.kind}" '
                f'in API group "{want.group}"{where}',
            )
        if want.resource in ("selfsubjectaccessreviews", "selfsubjectreviews"):
            return await self._review(request, want, user)
        if want.subresource == "portforward":
            socket = web.WebSocketResponse(protocols=(portforward.PROTOCOL,), max_msg_size=0, heartbeat=None)
            if not socket.can_prepare(request):
                raise Refused(400, "BadRequest", "Upgrade request required")
            self._pod(want)
            await socket.prepare(request)
            await portforward.forward(socket)
            return socket
        if want.subresource in ("exec", "attach"):
            return await self._stream(request, want)
        if want.subresource == "log":
            return await self._log(request, want)
        return await self._stored(request, want)

    def _who(self, request: web.Request) -> tuple[User, str]:
        """Who asks, in whose name: by token or certificate, and then by the headers that impersonate."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        user = self.tokens.get(token) if scheme == "Bearer" else None
        certificate = request.transport.get_extra_info("peercert") if request.transport is not None else None
        if user is None and certificate:
            pairs = [pair for part in certificate["subject"] for pair in part]
            groups = tuple(value for key, value in pairs if key == "organizationName")
            user = User(name=next(value for key, value in pairs if key == "commonName"), groups=groups)
        if user is None:
            raise Refused(401, "Unauthorized", "Unauthorized")
        caller = User(name=user.name, groups=(*user.groups, "system:authenticated"))
        name = (
            request.headers.get("Impersonate-User", "")
            .encode("latin-1", "surrogateescape")
            .decode(errors="replace")
        )
        extra = {
            key.lower().removeprefix("impersonate-extra-"): tuple(request.headers.getall(key))
            for key in request.headers
            if key.lower().startswith("impersonate-extra-")
        }
        groups = tuple(request.headers.getall("Impersonate-Group", []))
        if not name:
            if groups or extra:
                raise Refused(400, "BadRequest", "requested to impersonate without impersonating a user")
            return caller, caller.name
        wanted = [("users", "", name), *(("groups", "", group) for group in groups)]
        wanted += [
            (f"userextras/{key}", "authentication.k8s.io", v) for key, values in extra.items() for v in values
        ]
        for resource, group, value in wanted:
            if not self.rbac.allows(caller, "impersonate", resource, group=group, name=value):
                self.seen.append(
                    Seen(
                        user=caller,
                        by=caller.name,
                        asked=Asked(verb="impersonate", resource=resource, name=value),
                        allowed=False,
                    )
                )
                raise Refused(
                    403,
                    "Forbidden",
                    f'{resource} "{value}" is forbidden: User "{caller.name}" cannot impersonate resource "{resource}" '
                    f'in API group "{group}" at the cluster scope',
                )
        return User(name=name, groups=(*groups, "system:authenticated"), extra=extra), caller.name

    def _discovery(self, want: Asked) -> web.StreamResponse:
        match want.path.strip("/").split("/"):
            case ["version"]:
                version = {
                    "major": "1",
                    "minor": "32",
                    "gitVersion": "v1.32.0-double",
                    "platform": "linux/amd64",
                }
                return web.json_response(version)
            case ["api"]:
                return web.json_response(
                    {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
                )
            case ["apis"]:
                return web.json_response(group_list())
            case ["api", "v1"]:
                return web.json_response(resource_list("", "v1"))
            case ["apis", group, version]:
                return web.json_response(resource_list(group, version))
        raise NotUnderstood("the server could not find the requested resource")

    async def _review(self, request: web.Request, want: Asked, user: User) -> web.StreamResponse:
        if want.resource == "selfsubjectreviews":
            info = {"username": user.name, "groups": list(user.groups)}
            review = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {}}
            return web.json_response({**review, "status": {"userInfo": info}}, status=201)
        spec = review_of(await request.read())
        kind = "/".join(filter(None, [spec.get("resource", ""), spec.get("subresource", "")]))
        is_allowed = self.rbac.allows(
            user, spec.get("verb", ""), kind, group=spec.get("group", ""),
            namespace=spec.get("namespace", ""), name=spec.get("name", ""),
        )  # fmt: skip
        review = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}}
        body = {**review, "spec": {"resourceAttributes": spec}, "status": {"allowed": is_allowed}}
        return web.json_response(body, status=201)

    async def _stored(self, request: web.Request, want: Asked) -> web.StreamResponse:
        if want.resource not in NAMES:
            raise NotUnderstood("the server could not find the requested resource")
        if want.verb == "watch":
            return await self.storage.watch(request, want)
        if "protobuf" in request.content_type:
            raise Refused(415, "UnsupportedMediaType", "the double reads objects in JSON only")
        body = json.loads(await request.read() or b"{}") if request.method in ("POST", "PUT", "PATCH") else {}
        if want.resource == "rolebindings" and want.verb == "create":
            for subject in body["subjects"]:
                grant = Grant(subject=subject["name"], rules=DEVELOPER, namespace=want.namespace)
                self.rbac.grants.append(grant)
        code, content = self.storage.serve(want, body, request.headers.get("Accept", ""))
        return web.json_response(content, status=code)

    def _pod(self, want: Asked) -> dict[str, Any]:
        found = self.storage.get("pods", want.namespace, want.name)
        if found is None:
            raise Refused(404, "NotFound", f'pods "{want.name}" not found', name=want.name, kind="pods")
        return found

    def _image(self, want: Asked) -> str:
        """The image of the container that is asked for, by default the first."""
        images = container_images(self._pod(want))
        container = want.query.get("container") or next(iter(images))
        if container not in images:
            raise Refused(400, "BadRequest", f"container {container} is not valid for pod {want.name}")
        return images[container]

    async def _log(self, request: web.Request, want: Asked) -> web.StreamResponse:
        self._image(want)
        lines = [
            f"{NOW} line {number}" if want.query.get("timestamps") == "true" else f"line {number}"
            for number in range(20)
        ]
        tail = want.query.get("tailLines")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        for line in lines[-int(tail) :] if tail else lines:
            await response.write(f"{line}\n".encode())
        number = 20
        while want.query.get("follow") == "true" and want.name not in self.scripts:
            await asyncio.sleep(0.1)
            await response.write(f"line {number}\n".encode())
            number += 1
        return response

    async def _stream(self, request: web.Request, want: Asked) -> web.StreamResponse:
        image = self._image(want)
        phase = self._pod(want)["status"]["phase"]
        if phase != "Running":
            raise Refused(400, "BadRequest", f"pod {want.name} does not have a host assigned")
        socket = web.WebSocketResponse(protocols=self.protocols, max_msg_size=0, heartbeat=None)
        if not socket.can_prepare(request):
            raise Refused(400, "BadRequest", "Upgrade request required")
        offered = [word.strip() for word in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        if not set(offered) & set(self.protocols) or self.turns_down in offered:
            return web.Response(status=403)  # by the handshake of golang.org/x/net/websocket: no Status
        await socket.prepare(request)
        if (script := self.scripts.get(want.name)) is not None:
            await script(socket)
        else:
            command = want.commands if want.subresource == "exec" else ["sh", "-c", "echo attached; cat"]
            await run(
                socket, command, tty=want.query.get("tty") == "true", stdin=want.query.get("stdin") == "true",
                path=self._programs.path(image), host=want.name,
            )  # fmt: skip
        return socket


async def drained(socket: web.WebSocketResponse) -> None:
    """For scripts: wait until the other side has gone."""
    async for message in socket:
        if message.type is WSMsgType.ERROR:
            return


def _status(code: int, reason: str, message: str, **details: str) -> web.Response:
    body: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    body |= {"message": message, "reason": reason, "code": code}
    return web.json_response(body | ({"details": details} if details else {}), status=code)
