"""The onward session to a pod: a shell, a command, what runs there already, or the log of a container."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from bastion.config.targets import KubernetesTarget
from bastion.connectors.kubernetes.cluster import Cluster, open_cluster_for, pod_path
from bastion.connectors.kubernetes.logs import LogEnd, open_log
from bastion.connectors.kubernetes.refusals import ClusterRefused
from bastion.connectors.kubernetes.stream import PodEnd, open_stream
from bastion.errors import TargetError
from bastion.sessions.pods import PodName
from bastion.sessions.session import AdmittedSession


@asynccontextmanager
async def open_pod(session: AdmittedSession, target: KubernetesTarget) -> AsyncIterator[PodEnd | LogEnd]:
    """The target's end of *session*, closed on leaving. Raises TargetError."""
    pod = PodName.read(target, session.path)
    async with open_cluster_for(session, target) as cluster:
        pod = await with_container(cluster, pod)
        if session.request.kind == "logs":
            async with open_log(cluster, pod, session.request) as log:
                yield log
        else:
            async with open_stream(cluster, pod, session.request) as stream:
                yield stream


async def with_container(cluster: Cluster, pod: PodName) -> PodName:
    """*pod* with a container named. Raises TargetError, where there is no such pod for one."""
    if pod.container:
        return pod
    try:
        found = await cluster.get(pod_path(pod.namespace, pod.pod))
    except ClusterRefused as refused:
        if refused.status == 403:  # who may not look may still be let in: the cluster then chooses
            return pod
        raise
    names = container_names(found)
    if not names:
        raise TargetError(f"the pod {pod} has no container")
    return replace(pod, container=names[0])


def container_names(pod: dict[str, Any]) -> list[str]:
    """The containers of a *pod* as the API describes it, the one that people mean first."""
    match pod:
        case {"spec": {"containers": [*containers]}}:
            names = [
                each["name"]
                for each in containers
                if isinstance(each, dict) and isinstance(each.get("name"), str)
            ]
        case _:
            return []
    match pod:  # kubectl goes by the same annotation
        case {"metadata": {"annotations": {"kubectl.kubernetes.io/default-container": str(name)}}} if (
            name in names
        ):
            names.remove(name)
            names.insert(0, name)
    return names
