"""`bastion target check` and `bastion target manifest` for clusters: what ops see, and that the manifest is enough."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bastion.config.load import load
from bastion.config.targets import KubernetesTarget
from bastion.ops.clusters import examine, groups_for, manifest
from policy.rules import Rule
from tests.cli.bastion_command import Command, restored_logging
from tests.kubernetes.conftest import POLICY, Place
from tests.kubernetes.double import BASTION, Double
from tests.kubernetes.rbac import Grant

RULES = (
    Rule(name="a", groups=("dev", "team-*"), targets=("prod-*",), logins=("{user}",)),
    Rule(name="b", groups=("sre",), targets=("web-*",), logins=("{user}",)),
    Rule(name="c", groups=("guests",), effect="deny"),
)


@pytest.fixture
def bare(double: Double) -> Iterator[Double]:
    """A cluster that has not been told of the bastion yet."""
    before = double.rbac.grants
    double.rbac.grants = [grant for grant in before if grant.subject != BASTION]
    yield double
    double.rbac.grants = before


@pytest.fixture
def target(double: Double) -> KubernetesTarget:
    return place(double).target(impersonate_groups=["dev", "sre", "team-*"])


def place(double: Double) -> Place:
    return Place(
        kubeconfig=double.kubeconfig(), namespace="shop", pod="api-7d9", container="app", double=double
    )


async def test_a_cluster_that_knows_nothing_of_the_bastion_is_told_how_to(
    bare: Double, target: KubernetesTarget
) -> None:
    found = await examine(target, "alice", ["dev"])
    assert "may not impersonate users, userextras/bastion-session, the group dev" in found.problem
    assert found.hint == "Apply what this prints: bastion target manifest prod-k8s"
    assert found.notes == ("Kubernetes v1.32.0-double", "the bastion is bastion there")


async def test_the_manifest_is_all_that_is_needed_and_no_more(bare: Double, target: KubernetesTarget) -> None:
    bare.rbac.apply(manifest(target, RULES, user=BASTION))
    found = await examine(target, "alice", ["dev"])
    assert found.problem == ""
    assert found.notes[-2:] == ("it may speak for alice, and for dev", "alice in dev may open shells in shop")
    other = await examine(target, "alice", ["sre"])
    assert "the group sre" in other.problem


async def test_a_bastion_that_may_be_everybody_is_warned_of(bare: Double, target: KubernetesTarget) -> None:
    rules = ({"apiGroups": ["*"], "resources": ["*"], "verbs": ["impersonate"]},)
    bare.rbac.grants.append(Grant(subject=BASTION, rules=rules))
    found = await examine(target, "alice")
    assert found.problem == ""
    assert any("WARNING: it may impersonate every group, system:masters too" in note for note in found.notes)
    assert found.notes[-1] == "alice may not open shells in shop"


def test_only_people_who_are_named_are_spoken_for(bare: Double, target: KubernetesTarget) -> None:
    text = manifest(target, RULES, service_account="ops/bastion", groups=["team-a"], people=["alice"])
    bare.rbac.apply(text)
    grants = [grant for grant in bare.rbac.grants if grant.subject == "system:serviceaccount:ops:bastion"]
    users, groups, _ = grants[0].rules
    assert users["resourceNames"] == ["alice"]
    assert groups["resourceNames"] == ["dev", "team-a"]
    assert "Rules name groups by patterns (team-*)" in text


def test_groups_are_those_that_rules_let_onto_the_cluster(target: KubernetesTarget) -> None:
    assert groups_for(target, RULES) == (["dev"], ["team-*"])
    assert groups_for(place_of(target, "k8s-*"), RULES) == ([], ["team-*"])
    assert "bind roles to people" in manifest(place_of(target, "k8s-*"), RULES)


def place_of(target: KubernetesTarget, groups: str) -> KubernetesTarget:
    return target.model_copy(update={"impersonate_groups": (groups,)})


@pytest.fixture
def bastion(double: Double, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """`bastion …` over a configuration with the cluster in it."""
    with restored_logging():
        command = Command(tmp_path, capsys)
        command.init()
        command.file.write_text(f"{command.file.read_text()}\n{place(double).toml()}\n{POLICY}")
        yield command


def test_ops_see_it_all_on_the_command_line(double: Double, bastion: Command) -> None:
    done = bastion("target", "check", "prod-k8s")
    assert done.out.splitlines()[:3] == [
        "prod-k8s: ok (as bastion-target-check)",
        "  Kubernetes v1.32.0-double",
        "  the bastion is bastion there",
    ]
    assert done.status == 0
    printed = bastion("target", "manifest", "prod-k8s", "--user", "bastion-prod")
    assert "name: bastion-prod" in printed.out
    asked = ("policy", "explain", "bob", "prod-k8s", "--groups", "dev", "--action", "shell", "--pod")
    assert "no rule lets you open a shell in kube-system/dns-0" in bastion(*asked, "kube-system/dns-0").out
    file = double.kubeconfig()
    document = json.loads(file.read_text())
    document["users"][0]["user"] = {"token": "s3cret-and-wrong"}
    file.write_text(json.dumps(document))
    refused = bastion("target", "check", "prod-k8s", "--login", "alice")
    assert refused.status == 1
    assert "prod-k8s does not let the bastion in" in refused.out
    assert f"Look at users in {file}" in refused.out
    document["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = True
    file.write_text(json.dumps(document))
    broken = bastion("target", "check", "prod-k8s")
    assert "insecure-skip-tls-verify cannot be used" in broken.out
    assert "s3cret" not in refused.out + refused.err + broken.out + broken.err


def test_the_example_of_the_documentation_is_a_configuration(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/kubernetes.md").read_text()
    example = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0]
    file = tmp_path / "bastion.toml"
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    data = f'data = "{tmp_path}/data"\n[development_issuer]\nport = 0\n'
    file.write_text(data + example.replace("/etc/bastion/prod.kubeconfig", str(kubeconfig)))
    config = load(file)
    target = config.target("prod-k8s")
    assert isinstance(target, KubernetesTarget)
    assert groups_for(target, config.policy.rules) == (["dev"], [])
