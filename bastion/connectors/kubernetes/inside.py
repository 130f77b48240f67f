"""What a person can choose from in a cluster: namespaces, their pods, their containers, as policy and RBAC let them.

The cluster is asked in the person's name, page by page, for the tables that kubectl prints: a line per pod instead of
all that there is to say of it. So what they may not see is not offered, and ten thousand pods are quick.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bastion.config.targets import KubernetesTarget
from bastion.connectors.kubernetes.cluster import Cluster, open_cluster, pod_path
from bastion.connectors.kubernetes.impersonation import Impersonated
from bastion.connectors.kubernetes.refusals import ClusterRefused, NotSpokenFor
from bastion.connectors.kubernetes.reviews import may
from bastion.connectors.kubernetes.session import container_names
from bastion.connectors.levels import Level, Place
from bastion.errors import TargetError
from bastion.identity.person import Person
from bastion.sessions.admission import facts_of, subject_of
from bastion.sessions.pods import DEFAULT_NAMESPACE, PodName
from policy.decide import pods_open
from policy.kubernetes import Pod
from policy.patterns import is_concrete
from policy.rules import Rule

PAGE = 500
"""Lines that a cluster is asked for at once, as by kubectl."""

MOST = 50_000
"""Pods of one namespace that are read; who has more names one."""

_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
_MOST_REVIEWED = 100
_AT_ONCE = 8


async def level_of(
    target: KubernetesTarget, person: Person, login: str, path: str, rules: Sequence[Rule]
) -> Level | None:
    """What is below *path* in *target* for *person* as *login*; None where a container is named. Raises TargetError."""
    if ":" in path:
        return None
    is_open = pods_open(rules, subject_of(person), facts_of(target), login, "shell")
    async with open_cluster(target, Impersonated.of(target, person, login)) as cluster:
        namespace, _, pod = path.partition("/")
        if not namespace:
            return Level(
                kind="namespace",
                places=tuple(await _namespaces(cluster, target, rules, is_open)),
                changes=True,
            )
        if not pod:
            return Level(kind="pod", places=tuple(await _pods(cluster, namespace, is_open)), changes=True)
        named = PodName.read(target, path)
        found = await cluster.get(pod_path(named.namespace, named.pod))
        return Level(kind="container", places=tuple(_containers(named, found)))


async def _namespaces(
    cluster: Cluster, target: KubernetesTarget, rules: Sequence[Rule], is_open: Callable[[Pod], bool]
) -> list[Place]:
    usual = target.namespace or DEFAULT_NAMESPACE
    try:
        found = [row.name for row in await _rows(cluster, "/api/v1/namespaces")]
    except NotSpokenFor:
        raise
    except ClusterRefused as refused:
        if refused.status != 403:
            raise
        # Many people may work in namespaces that they may not list: the ones that rules name can still be tried.
        found = [usual, *_named_in(rules)]
    names = sorted({name for name in found if is_open(Pod(name))}, key=lambda name: (name != usual, name))
    if 1 < len(names) <= _MOST_REVIEWED:
        names = await _with_pods_to_list(cluster, names)
    return [Place(name=name, path=f"{name}/") for name in names]


def _named_in(rules: Sequence[Rule]) -> Iterable[str]:
    for rule in rules:
        if rule.effect == "allow" and rule.kubernetes is not None:
            yield from filter(is_concrete, rule.kubernetes.namespaces)


async def _with_pods_to_list(cluster: Cluster, names: Sequence[str]) -> list[str]:
    """Those of *names* in which the cluster lets the person list pods."""
    turn = asyncio.Semaphore(_AT_ONCE)

    async def may_list(name: str) -> bool:
        async with turn:
            try:
                return await may(cluster, "list", "pods", namespace=name)
            except ClusterRefused:  # a cluster that does not say: then listing tells
                return True

    answers = await asyncio.gather(*map(may_list, names))
    return [name for name, is_allowed in zip(names, answers, strict=True) if is_allowed]


async def _pods(cluster: Cluster, namespace: str, is_open: Callable[[Pod], bool]) -> list[Place]:
    rows = [row for row in await _rows(cluster, pod_path(namespace)) if is_open(Pod(namespace, row.name))]
    rows.sort(key=lambda row: (row.status != "Running", row.name))
    return [
        Place(name=row.name, path=f"{namespace}/{row.name}", description="  ".join(filter(None, row.details)))
        for row in rows
    ]


def _containers(pod: PodName, found: dict[str, Any]) -> list[Place]:
    images = {each["name"]: str(each.get("image", "")) for each in found["spec"]["containers"]}
    return [
        Place(name=name, path=f"{pod.namespace}/{pod.pod}:{name}", description=images[name])
        for name in container_names(found)
    ]


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    status: str
    details: tuple[str, ...]


async def _rows(cluster: Cluster, path: str) -> list[_Row]:
    rows: list[_Row] = []
    query = {"limit": str(PAGE), "includeObject": "None"}
    while True:
        table = await cluster.get(path, query, accept=f"{_TABLE},application/json")
        rows += _rows_of(table)
        match table:
            case {"metadata": {"continue": str(more)}} if more and len(rows) < MOST:
                query["continue"] = more
            case _:
                return rows


def _rows_of(table: dict[str, Any]) -> Iterable[_Row]:
    match table:
        case {"kind": "Table", "columnDefinitions": [*columns], "rows": [*rows]}:
            names = [str(column.get("name", "")).lower() for column in columns if isinstance(column, dict)]
        case _:
            raise TargetError(
                "the cluster does not answer with a table, as clusters do since Kubernetes 1.15"
            )
    for row in rows:
        match row:
            case {"cells": [*cells]} if len(cells) >= len(names):
                cell = dict(zip(names, map(str, cells), strict=False))
                details = (cell.get("status", ""), cell.get("ready", ""), cell.get("age", ""))
                yield _Row(cell.get("name", ""), details[0], details)
