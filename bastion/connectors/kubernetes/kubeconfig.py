"""How a cluster is reached, read from a kubeconfig or from the service account of the pod the bastion runs in.

Read strictly: what the bastion would not honour is an error and never passed over, for it may be what somebody relied
on. Messages name the file and the place in it, and never a value: there are credentials among them.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bastion.config.targets import KubernetesTarget
from bastion.connectors.kubernetes.credential import Certificate, Plugin, TokenSource
from bastion.errors import ConfigError, KeyFileError
from bastion.runtime.files import read_private
from bastion.runtime.secrets import Secret

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
IN_CLUSTER = "https://kubernetes.default.svc"
"""What every API server calls itself to the pods of its cluster."""

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach a cluster: its URL, whom to trust for it (*ca* in PEM, None is this machine's CAs), what to show."""

    server: str
    ca: str | None
    server_name: str | None = None
    certificate: Certificate | None = None
    token: TokenSource | None = None
    plugin: Plugin | None = None


def access_to(target: KubernetesTarget) -> Access:
    """How to reach *target*. Raises ConfigError with what to mend, for those who run the bastion."""
    if target.kubeconfig is None:
        return in_cluster()
    return _Reader(target.kubeconfig, target).access()


def in_cluster(folder: Path = SERVICE_ACCOUNT, server: str = IN_CLUSTER) -> Access:
    """By the service account that Kubernetes puts into *folder* of each pod."""
    try:
        ca = (folder / "ca.crt").read_text()
    except OSError as error:
        raise ConfigError(
            f"there is no kubeconfig, and no service account of a pod in {folder} ({error.strerror})",
            hint="Set kubeconfig, or run the bastion in the cluster.",
        ) from error
    return Access(server=server, ca=ca, token=TokenSource(file=folder / "token"))


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=lambda name: name.replace("_", "-"),
        hide_input_in_errors=True,
    )
    extensions: Any = None


class _Cluster(_Part):
    server: str
    certificate_authority: str | None = None
    certificate_authority_data: str | None = None
    tls_server_name: str | None = None
    insecure_skip_tls_verify: bool = False
    proxy_url: str | None = None
    disable_compression: bool = False


class _Variable(_Part):
    name: str
    value: str


class _Exec(_Part):
    command: str
    args: tuple[str, ...] | None = None
    env: tuple[_Variable, ...] | None = None
    api_version: str = Field(alias="apiVersion")
    install_hint: str | None = Field(None, alias="installHint")
    provide_cluster_info: bool = Field(False, alias="provideClusterInfo")
    interactive_mode: str | None = Field(None, alias="interactiveMode")


class _User(_Part):
    client_certificate: str | None = None
    client_certificate_data: str | None = None
    client_key: str | None = None
    client_key_data: str | None = None
    token: str | None = None
    token_file: str | None = Field(None, alias="tokenFile")
    exec: _Exec | None = None


class _Context(_Part):
    cluster: str
    user: str
    namespace: str | None = None


class _Kubeconfig(_Part):
    api_version: str = Field("v1", alias="apiVersion")
    kind: str = "Config"
    preferences: Any = None
    current_context: str | None = None
    clusters: tuple[dict[str, Any], ...] | None = None
    contexts: tuple[dict[str, Any], ...] | None = None
    users: tuple[dict[str, Any], ...] | None = None


_NOT_HONOURED = {
    "as": "the bastion itself says in whose name it asks",
    "as-uid": "the bastion itself says in whose name it asks",
    "as-groups": "the bastion itself says in whose name it asks",
    "as-user-extra": "the bastion itself says in whose name it asks",
    "username": "Kubernetes knows passwords no more; use a token or a client certificate",
    "password": "Kubernetes knows passwords no more; use a token or a client certificate",
    "auth-provider": "it was replaced by exec plugins (kubectl 1.26)",
}


class _Reader:
    """One kubeconfig, and the context that a target takes of it."""

    def __init__(self, file: Path, target: KubernetesTarget) -> None:
        self._file = file
        self._target = target

    def access(self) -> Access:
        config = self._model(_Kubeconfig, self._parsed(), "")
        name = self._target.context or config.current_context
        if not name:
            raise self._wrong(
                "current-context", "is not set", "Set context of the target, or current-context."
            )
        context = self._named(_Context, config.contexts, "context", name)
        cluster = self._named(_Cluster, config.clusters, "cluster", context.cluster)
        user = self._named(_User, config.users, "user", context.user)
        server, ca = self._server(cluster, context.cluster)
        place = f"users[{context.user}].user"
        certificate = self._certificate(user, place)
        plugin = self._plugin(user.exec, cluster, ca, place) if user.exec is not None else None
        token = TokenSource(value=Secret(user.token)) if user.token else None
        if user.token_file:
            token = TokenSource(file=self._path(user.token_file))
        if sum(way is not None for way in (token, plugin)) + (certificate is not None) == 0:
            raise self._wrong(
                place, "holds no credential", "It needs a token, tokenFile, client-certificate or exec."
            )
        return Access(
            server=server,
            ca=ca,
            server_name=cluster.tls_server_name,
            certificate=certificate,
            token=token,
            plugin=plugin,
        )

    def _parsed(self) -> Any:
        try:
            return yaml.load(read_private(self._file), Loader=_Loader)  # noqa: S506 - a SafeLoader, see below
        except KeyFileError as error:
            raise ConfigError(error.message, hint=error.hint) from error
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            where = f"line {mark.line + 1}" if mark is not None else "it"
            # Without its text: what stands around the mistake may be a credential.
            raise self._wrong(where, f"is not YAML ({error.problem})") from None
        except (yaml.YAMLError, UnicodeDecodeError):
            raise self._wrong("it", "is not YAML") from None

    def _named(self, model: type[T], entries: tuple[dict[str, Any], ...] | None, kind: str, name: str) -> T:
        """The one entry called *name*; the others may be whatever they are."""
        place = f"{kind}s[{name}]"
        found = [entry for entry in entries or () if entry.get("name") == name]
        if len(found) != 1 or not isinstance(found[0].get(kind), dict):
            problem = "is there more than once" if len(found) > 1 else f"is missing, or has no {kind}"
            raise self._wrong(place, problem)
        content: dict[str, Any] = found[0][kind]
        for key, why in _NOT_HONOURED.items():
            if key in content:
                raise self._wrong(f"{place}.{kind}.{key}", f"cannot be used: {why}")
        return self._model(model, content, f"{place}.{kind}")

    def _model(self, model: type[T], content: Any, place: str) -> T:
        try:
            return model.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            path = ".".join(filter(None, [place, *map(str, first["loc"])])) or "it"
            message = "is not known" if first["type"] == "extra_forbidden" else f"is wrong: {first['msg']}"
            raise self._wrong(path, message) from None

    def _server(self, cluster: _Cluster, name: str) -> tuple[str, str | None]:
        place = f"clusters[{name}].cluster"
        url = urlsplit(cluster.server)
        if url.scheme != "https" or not url.hostname or url.username or url.query or url.fragment:
            raise self._wrong(f"{place}.server", "must be the https URL of the API server")
        if cluster.insecure_skip_tls_verify:
            raise self._wrong(
                f"{place}.insecure-skip-tls-verify",
                "cannot be used: whoever is on the way would get the credential",
                "Put the cluster's CA into certificate-authority-data.",
            )
        if cluster.proxy_url:
            raise self._wrong(
                f"{place}.proxy-url", "cannot be used: the bastion connects to clusters directly"
            )
        ca = self._content(
            place, "certificate-authority", cluster.certificate_authority, cluster.certificate_authority_data
        )
        return cluster.server.rstrip("/"), ca

    def _certificate(self, user: _User, place: str) -> Certificate | None:
        chain = self._content(
            place, "client-certificate", user.client_certificate, user.client_certificate_data
        )
        key = self._content(place, "client-key", user.client_key, user.client_key_data, is_private=True)
        if (chain is None) != (key is None):
            raise self._wrong(
                place, "has one of client-certificate and client-key, and needs both or neither"
            )
        return Certificate(chain=chain, key=Secret(key)) if chain is not None and key is not None else None

    def _plugin(self, wanted: _Exec, cluster: _Cluster, ca: str | None, place: str) -> Plugin:
        place = f"{place}.exec"
        allowed = self._target.exec_plugins
        if "/" in wanted.command:
            program = next((path for path in allowed if path == self._path(wanted.command)), None)
        else:
            program = next((path for path in allowed if path.name == wanted.command), None)
        if program is None:
            raise self._wrong(
                f"{place}.command",
                f"names a program that is not among exec_plugins of {self._target.name}",
                "If the bastion may run it, add its whole path there.",
            )
        if wanted.interactive_mode == "Always":
            raise self._wrong(f"{place}.interactiveMode", "cannot be Always: nobody is there to be asked")
        info: dict[str, Any] | None = None
        if wanted.provide_cluster_info:
            info = {"server": cluster.server}
            if ca is not None:
                info["certificate-authority-data"] = base64.b64encode(ca.encode()).decode()
            if cluster.tls_server_name:
                info["tls-server-name"] = cluster.tls_server_name
        return Plugin(
            program=program,
            arguments=wanted.args or (),
            environment={variable.name: Secret(variable.value) for variable in wanted.env or ()},
            api_version=wanted.api_version,
            cluster=info,
        )

    def _content(
        self, place: str, name: str, path: str | None, data: str | None, *, is_private: bool = False
    ) -> str | None:
        """PEM that stands in the kubeconfig itself, or in a file that it names; data goes first, as kubectl has it."""
        if data:
            try:
                return base64.b64decode(data, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                raise self._wrong(f"{place}.{name}-data", "is not PEM in base64") from None
        if not path:
            return None
        file = self._path(path)
        try:
            return (read_private(file) if is_private else file.read_bytes()).decode()
        except (OSError, KeyFileError, UnicodeDecodeError) as error:
            reason = error.message if isinstance(error, KeyFileError) else f"{file} cannot be read"
            hint = error.hint if isinstance(error, KeyFileError) else ""
            raise self._wrong(f"{place}.{name}", f"is of no use: {reason}", hint) from error

    def _path(self, path: str) -> Path:
        return self._file.absolute().parent / path  # as kubectl reads a relative one

    def _wrong(self, place: str, problem: str, hint: str = "") -> ConfigError:
        return ConfigError(f"{self._file}: {place} {problem}", hint=hint)


class _Loader(yaml.SafeLoader):
    """YAML in which all but null is text (a token may look like a number), and a key stands once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, "a key stands here twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag == "tag:yaml.org,2002:null"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
