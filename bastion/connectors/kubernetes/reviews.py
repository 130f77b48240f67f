"""Asking a cluster what somebody may do there, in whose name it is asked (authorization.k8s.io/v1)."""

from __future__ import annotations

from bastion.connectors.kubernetes.cluster import Cluster

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


async def may(
    cluster: Cluster, verb: str, resource: str, *, group: str = "", name: str = "", namespace: str = ""
) -> bool:
    """Whether RBAC lets them; *resource* has its subresource behind a slash. Raises ClusterRefused and TargetError."""
    resource, _, subresource = resource.partition("/")
    asked = {"verb": verb, "group": group, "resource": resource, "subresource": subresource}
    asked |= {"name": name, "namespace": namespace}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in asked.items() if value}},
    }
    match await cluster.create(_REVIEWS, review):
        case {"status": {"allowed": bool(allowed)}}:
            return allowed
    return False
