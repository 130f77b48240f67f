"""The lists of a cluster: who sees what in them, and that many pods are no trouble."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bastion.connectors.kubernetes.inside import level_of
from bastion.connectors.levels import Level
from bastion.errors import TargetError
from policy.rules import Rule
from tests.kubernetes.conftest import Place
from tests.kubernetes.double import Double
from tests.kubernetes.rbac import Grant, rule
from tests.kubernetes.test_cluster import person

ANY = Rule(name="any", groups=("*",), targets=("*",), logins=("{user}",))


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A double with ten thousand pods in the namespace `many`."""
    with Double(tmp_path_factory.mktemp("crowded"), many_pods=10_000) as double:
        developers = (rule("list get", "pods"),)
        double.rbac.grants.append(Grant(subject="dev", rules=developers, namespace="default"))
        yield Place(
            kubeconfig=double.kubeconfig(), namespace="shop", pod="api-7d9", container="app", double=double
        )


async def level(place: Place, path: str, *groups: str, rules: tuple[Rule, ...] = (ANY,)) -> Level:
    found = await level_of(place.target(), person("bob", *groups), "bob", path, rules)
    assert found is not None
    return found


def names(level: Level) -> list[str]:
    return [place.name for place in level.places]


async def test_namespaces_are_those_in_which_the_person_may_list_pods(crowded: Place) -> None:
    assert names(await level(crowded, "", "sre")) == ["shop", "default", "kube-system", "many"]
    assert names(await level(crowded, "", "dev")) == ["shop", "default"]


async def test_policy_narrows_the_lists(crowded: Place) -> None:
    narrow = ANY.model_validate(
        {
            **ANY.model_dump(exclude_unset=True),
            "kubernetes": {"namespaces": ["shop", "m*"], "pods": ["api-*"]},
        }
    )
    denied = Rule(name="no", effect="deny", groups=("*",), kubernetes={"namespaces": ["many"]})
    assert names(await level(crowded, "", "sre", rules=(narrow,))) == ["shop", "many"]
    assert names(await level(crowded, "", "sre", rules=(narrow, denied))) == ["shop"]
    assert names(await level(crowded, "shop/", "sre", rules=(narrow,))) == ["api-7d9"]


async def test_who_may_not_list_namespaces_is_offered_those_that_rules_name(crowded: Place) -> None:
    named = Rule(
        name="n",
        groups=("*",),
        targets=("*",),
        logins=("*",),
        kubernetes={"namespaces": ["default", "x-*", "gone"]},
    )
    assert crowded.double is not None
    crowded.double.rbac.grants.append(
        Grant(subject="audit", rules=(rule("list get", "pods"),), namespace="default")
    )
    assert names(await level(crowded, "", "audit", rules=(named,))) == ["default"]


async def test_pods_come_with_their_state_and_the_running_ones_first(crowded: Place) -> None:
    found = await level(crowded, "shop/", "dev")
    assert names(found) == ["api-7d9", "bare-0", "small-0", "stuck-0"]
    assert found.places[0].path == "shop/api-7d9"
    assert found.places[0].description == "Running  2/2  1d"
    assert found.places[-1].description == "Pending  0/1  1d"
    containers = await level(crowded, "shop/api-7d9", "dev")
    assert [(place.name, place.path) for place in containers.places] == [
        ("app", "shop/api-7d9:app"),
        ("side", "shop/api-7d9:side"),
    ]
    assert await level_of(crowded.target(), person("bob", "dev"), "bob", "shop/api-7d9:app", (ANY,)) is None


async def test_what_the_cluster_does_not_let_them_list_is_said_in_its_words(crowded: Place) -> None:
    with pytest.raises(TargetError, match='User "bob" cannot list resource "pods"'):
        await level(crowded, "kube-system/", "dev")


async def test_a_group_that_the_bastion_may_not_speak_for_is_told_as_that(crowded: Place) -> None:
    with pytest.raises(TargetError, match="does not let the bastion speak for you") as error:
        await level(crowded, "", "guests")
    assert "impersonate_groups" in error.value.hint


async def test_ten_thousand_pods_come_page_by_page(crowded: Place) -> None:
    assert crowded.double is not None
    before = len(crowded.double.seen)
    found = await level(crowded, "many/", "sre")
    assert len(found.places) == 10_000
    asked = [seen.asked.query for seen in crowded.double.seen[before:]]
    assert len(asked) == 20
    assert {(query["limit"], query["includeObject"]) for query in asked} == {("500", "None")}
