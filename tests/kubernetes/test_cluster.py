"""Clusters opened: whose name a request is made in, whom the bastion trusts, and what it never says."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from bastion.config.targets import KubernetesTarget
from bastion.connectors.kubernetes.cluster import open_cluster, pod_path
from bastion.connectors.kubernetes.impersonation import Impersonated
from bastion.connectors.kubernetes.kubeconfig import access_to, in_cluster
from bastion.connectors.kubernetes.refusals import ClusterRefused
from bastion.errors import ConfigError, TargetError
from bastion.identity.person import Person
from tests.kubernetes.conftest import Place
from tests.kubernetes.double import TOKEN, Double
from tests.kubernetes.pki import CLUSTER_NAME, Pki
from tests.kubernetes.rbac import Grant, User, rule


def person(user: str, *groups: str) -> Person:
    return Person(
        user=user,
        issuer="https://id.example.com",
        subject="1",
        groups=groups,
        method="device",
        serial=1,
        expires_at=9e9,
    )


def target_of(file: Path, **more: object) -> KubernetesTarget:
    settings = {"kind": "kubernetes", "name": "prod-k8s", "kubeconfig": file} | more
    return KubernetesTarget.model_validate(settings)


async def test_a_cluster_is_asked_in_the_name_of_the_person(cluster: Place) -> None:
    alice = Impersonated.of(cluster.target(), person("alice", "sre"), "alice", "261124-k7f3m9q")
    async with open_cluster(cluster.target(), alice) as opened:
        found = await opened.get(pod_path(cluster.namespace))
    assert found["kind"] == "PodList"
    async with open_cluster(cluster.target(), Impersonated(user="mallory")) as opened:
        with pytest.raises(ClusterRefused, match='User "mallory" cannot list resource "pods"'):
            await opened.get(pod_path(cluster.namespace))
    if cluster.double is None:
        return
    seen = cluster.double.seen[-2]
    assert seen.by == "bastion"
    assert seen.user == User(
        name="alice", groups=("sre", "system:authenticated"), extra={"bastion-session": ("261124-k7f3m9q",)}
    )


def test_groups_of_the_clusters_own_are_never_told() -> None:
    target = target_of(Path("/x"), impersonate_groups=["*"])
    told = Impersonated.of(
        target, person("alice", "system:masters", "dev", "a\nImpersonate-User: root"), "alice"
    )
    assert told.groups == ("dev",)
    narrow = target_of(Path("/x"), impersonate_groups=["k8s-*"])
    assert Impersonated.of(narrow, person("alice", "k8s-dev", "sre"), "alice").groups == ("k8s-dev",)


async def test_groups_with_letters_of_any_script_reach_the_cluster(double: Double) -> None:
    who = Impersonated(user="alice", groups=("sre", "größe-開発"))
    double.rbac.grants.append(
        Grant(subject="bastion", rules=(rule("impersonate", "groups", names=[who.groups[1]]),))
    )
    async with open_cluster(target_of(double.kubeconfig()), who) as opened:
        await opened.get(pod_path("shop"))
        assert double.seen[-1].user.groups[:2] == who.groups
        with pytest.raises(ClusterRefused):  # no stream, but it got there
            await opened.connect(pod_path("shop", "absent", "exec"), ["v5.channel.k8s.io"])
        assert double.seen[-1].user.groups[:2] == who.groups


async def test_what_the_cluster_refuses_is_told_in_its_words(double: Double) -> None:
    mallory = Impersonated(user="mallory", groups=("dev",))
    async with open_cluster(target_of(double.kubeconfig()), mallory) as opened:
        with pytest.raises(ClusterRefused, match='User "mallory" cannot list resource "pods"') as error:
            await opened.get(pod_path("kube-system"))
    assert error.value.status == 403


async def test_a_credential_that_is_not_taken_is_a_matter_for_who_runs_the_bastion(double: Double) -> None:
    file = double.kubeconfig(file="other")
    file.write_text(file.read_text().replace(TOKEN, "no-such-token"))
    async with open_cluster(target_of(file), Impersonated(user="alice")) as opened:
        with pytest.raises(ClusterRefused, match="does not let the bastion in") as error:
            await opened.get(pod_path("shop"))
    assert "no-such-token" not in f"{error.value!r} {error.value} {error.value.__cause__!r}"


async def test_a_cluster_with_a_certificate_of_another_ca_is_refused(double: Double, tmp_path: Path) -> None:
    stranger = Pki(tmp_path)
    document = json.loads(double.kubeconfig(file="stranger").read_text())
    document["clusters"][0]["cluster"] = {
        "server": double.server,
        "certificate-authority": str(tmp_path / "ca"),
    }
    (tmp_path / "ca").write_text(stranger.ca)
    async with open_cluster(target_of(_write(tmp_path, document)), None) as opened:
        with pytest.raises(TargetError, match="does not prove that it is the cluster on record"):
            await opened.get("/version")
        with pytest.raises(TargetError, match="does not prove that it is the cluster on record"):
            await opened.connect("/version", ["v5.channel.k8s.io"])


async def test_a_server_that_says_nothing_is_waited_for_no_longer_than_connecting_may_take(
    tmp_path: Path,
) -> None:
    release = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.close()

    async with await asyncio.start_server(hold, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        file = _write(tmp_path, _document(cluster={"server": f"https://127.0.0.1:{port}"}))
        async with open_cluster(
            target_of(file).model_copy(update={"connect_timeout": timedelta(milliseconds=200)}), None
        ) as opened:
            for ask in (opened.get("/version"), opened.connect("/version", ["v5.channel.k8s.io"])):
                with pytest.raises(TargetError, match="prod-k8s did not answer"):
                    await ask
        release.set()
    async with open_cluster(target_of(file), None) as opened:
        for ask in (opened.get("/version"), opened.connect("/version", ["v5.channel.k8s.io"])):
            with pytest.raises(TargetError, match=r"refused|connect"):
                await ask


async def test_the_name_in_the_certificate_may_be_another_than_the_address(
    double: Double, tmp_path: Path
) -> None:
    document = json.loads(double.kubeconfig(file="named").read_text())
    for name, problem in ((CLUSTER_NAME, ""), ("other.k8s.internal", "does not prove")):
        document["clusters"][0]["cluster"]["tls-server-name"] = name
        async with open_cluster(target_of(_write(tmp_path, document)), None) as opened:
            if problem:
                with pytest.raises(TargetError, match=problem):
                    await opened.get("/version")
            else:
                assert (await opened.get("/version"))["major"] == "1"


async def test_a_client_certificate_lets_the_bastion_in(double: Double) -> None:
    file = double.kubeconfig(user="alice", groups=("sre",), file="certificate")
    async with open_cluster(target_of(file), None) as opened:
        assert (await opened.get(pod_path("shop", "api-7d9")))["kind"] == "Pod"


async def test_a_token_file_is_read_anew_for_each_request(double: Double, tmp_path: Path) -> None:
    document = json.loads(double.kubeconfig(file="tokens").read_text())
    document["users"][0]["user"] = {"tokenFile": "token"}
    token = tmp_path / "token"
    token.write_text("old\n")
    async with open_cluster(target_of(_write(tmp_path, document)), None) as opened:
        with pytest.raises(ClusterRefused):
            await opened.get("/version")
        token.write_text(f"{TOKEN}\n")
        assert (await opened.get("/version"))["major"] == "1"


@pytest.mark.parametrize("token", ["s3cret\nX-Header: 1", "s3cret s3cret", "s3crét", ""])
async def test_what_cannot_be_a_token_is_shown_to_nobody(double: Double, tmp_path: Path, token: str) -> None:
    (tmp_path / "token").write_text(token)
    for credential in ({"tokenFile": "token"}, {"token": token or "\n"}):
        document = json.loads(double.kubeconfig(file="tokens").read_text())
        document["users"][0]["user"] = credential
        async with open_cluster(target_of(_write(tmp_path, document)), None) as opened:
            for ask in (opened.get("/version"), opened.connect("/version", ["v5.channel.k8s.io"])):
                with pytest.raises(TargetError, match="no usable credential") as error:
                    await ask
                assert "s3cr" not in f"{error.value!r} {error.value} {error.value.__cause__!r}"


async def test_a_service_account_is_how_a_bastion_in_the_cluster_gets_in(
    double: Double, tmp_path: Path
) -> None:
    (tmp_path / "ca.crt").write_text(double.pki.ca)
    (tmp_path / "token").write_text(TOKEN)
    access = in_cluster(tmp_path, double.server)
    assert access.token is not None
    assert access.token.read().reveal() == TOKEN
    with pytest.raises(ConfigError, match="no service account"):
        in_cluster(tmp_path / "elsewhere")


PLUGIN = """#!/bin/sh
test "$KUBERNETES_EXEC_INFO" && test -z "$SECRET_OF_THE_SERVER" || exit 9
echo "$1" >> {count}
echo '{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
 "status": {{"token": "'$TOKEN'", "expirationTimestamp": "'$EXPIRES'"}}}}'
"""


async def test_a_plugin_from_the_list_gives_a_credential_until_it_expires(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "x")
    program, count = tmp_path / "get-token", tmp_path / "count"
    program.write_text(PLUGIN.format(count=count))
    program.chmod(0o700)
    document = json.loads(double.kubeconfig(file="plugin").read_text())
    called = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "get-token",
        "args": ["prod"],
        "env": [{"name": "TOKEN", "value": TOKEN}, {"name": "EXPIRES", "value": "2026-11-24T10:00:00Z"}],
        "interactiveMode": "Never",
    }
    document["users"][0]["user"] = {"exec": called}
    file = _write(tmp_path, document)
    with pytest.raises(ConfigError, match="not among exec_plugins of prod-k8s"):
        access_to(target_of(file))
    listed = target_of(file, exec_plugins=[program])
    now = 1795514000.0  # 2026-11-24T09:53:20Z
    async with open_cluster(listed, None, now=lambda: now) as opened:
        for _ in range(3):
            await opened.get("/version")
        assert count.read_text() == "prod\n"
        now += 600
        await opened.get("/version")
    assert count.read_text() == "prod\nprod\n"


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("exit 3", "ended with status 3"),
        ("echo no", "did not answer with JSON"),
        ("echo '{}'", "did not answer with an ExecCredential"),
    ],
)
async def test_a_plugin_that_fails_is_told_of_without_what_it_said(
    tmp_path: Path, script: str, problem: str
) -> None:
    program = tmp_path / "get-token"
    program.write_text(f"#!/bin/sh\necho s3cret >&2\n{script}\n")
    program.chmod(0o700)
    called = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": str(program),
        "args": None,
        "env": None,
    }
    file = _write(tmp_path, _document(user={"exec": called}))
    plugin = access_to(target_of(file, exec_plugins=[program])).plugin
    assert plugin is not None
    with pytest.raises(ConfigError, match=problem) as error:
        await plugin.run()
    assert "s3cret" not in str(error.value)
    with pytest.raises(TargetError, match="no usable credential"):
        async with open_cluster(target_of(file, exec_plugins=[program]), None):
            pass


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"cluster": {"insecure-skip-tls-verify": True}}, "insecure-skip-tls-verify cannot be used"),
    ({"cluster": {"proxy-url": "http://p"}}, "proxy-url cannot be used"),
    ({"cluster": {"server": "http://1.2.3.4"}}, "must be the https URL"),
    ({"cluster": {"certificate-authority-data": "%%%"}}, "certificate-authority-data is not PEM in base64"),
    ({"cluster": {"certificate-authority": "/nowhere"}}, "certificate-authority is of no use"),
    ({"cluster": {"certificat": "/nowhere"}}, "clusters\\[c\\].cluster.certificat is not known"),
    ({"user": {"as": "root"}}, "as cannot be used: the bastion itself says"),
    ({"user": {"username": "a", "password": "s3cret"}}, "username cannot be used"),
    ({"user": {}}, "holds no credential"),
    ({"user": {"client-certificate-data": "QQ=="}}, "needs both or neither"),
    ({"user": {"token": ["s3cret"]}}, "users\\[u\\].user.token is wrong"),
    ({"context": "absent"}, "contexts\\[absent\\] is missing"),
    ({"context": None}, "current-context is not set"),
]


@pytest.mark.parametrize(("change", "problem"), WRONG)
def test_what_would_not_be_honoured_in_a_kubeconfig_is_an_error(
    tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    file = _write(tmp_path, _document(**change))
    with pytest.raises(ConfigError, match=problem) as error:
        access_to(target_of(file))
    assert "s3cret" not in str(error.value)


def test_a_kubeconfig_that_is_not_yaml_is_named_without_its_content(tmp_path: Path) -> None:
    for text, problem in (
        ("users: [{token: s3cret", "line 1 is not YAML"),
        ("apiVersion: v1\napiVersion: s3cret", "is not YAML \\(a key stands here twice"),
        ("- s3cret", "it is wrong"),
    ):
        file = tmp_path / "kubeconfig"
        file.touch(mode=0o600)
        file.write_text(text)
        with pytest.raises(ConfigError, match=problem) as error:
            access_to(target_of(file))
        assert "s3cret" not in str(error.value)


def test_a_kubeconfig_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = _write(tmp_path, _document())
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="can be used by others"):
        access_to(target_of(file))


def test_a_token_that_looks_like_a_number_stays_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(_document(user={"token": "TOKEN"})).replace("TOKEN", "0123"))
    token = access_to(target_of(file)).token
    assert token is not None
    assert token.read().reveal() == "0123"
    assert "0123" not in repr(access_to(target_of(file)))


def _document(
    cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, context: str | None = "x"
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"} | (cluster or {})}],
        "users": [
            {"name": "u", "user": {"token": "t"} if user is None else user},
            {"name": "other", "user": {"as": "x"}},
        ],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        **({"current-context": context} if context else {}),
    }


def _write(folder: Path, document: dict[str, Any]) -> Path:
    file = folder / "kubeconfig"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump(document, stream)
    return file
