"""What a request is about: tables as in k8s.io/apiserver, and targets that could mean two things."""

from __future__ import annotations

import pytest

from bastion.kubectl.resource import ApiRequest, NotUnderstood, understand

# method, target, verb, group, version, namespace, resource, subresource, name
UNDERSTOOD = [
    ("GET", "/api/v1/namespaces", "list", "", "v1", "", "namespaces", "", ""),
    ("GET", "/api/v1/namespaces/other", "get", "", "v1", "other", "namespaces", "", "other"),
    ("GET", "/api/v1/namespaces/other/pods", "list", "", "v1", "other", "pods", "", ""),
    ("GET", "/api/v1/namespaces/other/pods/", "list", "", "v1", "other", "pods", "", ""),
    ("GET", "/api/v1/namespaces/other/pods/foo", "get", "", "v1", "other", "pods", "", "foo"),
    ("HEAD", "/api/v1/namespaces/other/pods/foo", "get", "", "v1", "other", "pods", "", "foo"),
    ("GET", "/api/v1/pods", "list", "", "v1", "", "pods", "", ""),
    ("HEAD", "/api/v1/pods", "list", "", "v1", "", "pods", "", ""),
    ("GET", "/api/v1/pods?limit=500", "list", "", "v1", "", "pods", "", ""),
    ("GET", "/api/v1/namespaces/other/pods?watch=true", "watch", "", "v1", "other", "pods", "", ""),
    ("GET", "/api/v1/namespaces/other/pods?watch=1", "watch", "", "v1", "other", "pods", "", ""),
    ("GET", "/api/v1/namespaces/other/pods?watch", "watch", "", "v1", "other", "pods", "", ""),
    ("GET", "/api/v1/namespaces/other/pods?watch=", "watch", "", "v1", "other", "pods", "", ""),
    ("GET", "/api/v1/namespaces/other/pods?watch=yes", "watch", "", "v1", "other", "pods", "", ""),
    ("GET", "/api/v1/namespaces/other/pods?w%61tch=1", "watch", "", "v1", "other", "pods", "", ""),
    ("GET", "/api/v1/namespaces/other/pods?watch=false", "list", "", "v1", "other", "pods", "", ""),
    ("GET", "/api/v1/namespaces/other/pods?watch=0", "list", "", "v1", "other", "pods", "", ""),
    ("GET", "/api/v1/namespaces/other/pods?watch=1&watch=0", "watch", "", "v1", "other", "pods", "", ""),
    ("GET", "/api/v1/namespaces/other/pods/foo?watch=1", "get", "", "v1", "other", "pods", "", "foo"),
    ("GET", "/api/v1/watch/pods", "watch", "", "v1", "", "pods", "", ""),
    ("GET", "/api/v1/watch/namespaces/other/pods", "watch", "", "v1", "other", "pods", "", ""),
    ("GET", "/api/v1/namespaces/other/pods/foo/log?follow=true", "get", "", "v1", "other", "pods", "log", "foo"),
    ("GET", "/api/v1/namespaces/other/pods/foo/exec?command=a%2Fb", "get", "", "v1", "other", "pods", "exec", "foo"),
    ("POST", "/api/v1/namespaces/other/pods/foo/exec", "create", "", "v1", "other", "pods", "exec", "foo"),
    ("GET", "/api/v1/namespaces/other/pods/foo/proxy/x/y", "get", "", "v1", "other", "pods", "proxy", "foo"),
    ("PUT", "/api/v1/namespaces/other/finalize", "update", "", "v1", "other", "namespaces", "finalize", "other"),
    ("PUT", "/api/v1/namespaces/other/status", "update", "", "v1", "other", "namespaces", "status", "other"),
    ("DELETE", "/api/v1/namespaces/other/pods/foo", "delete", "", "v1", "other", "pods", "", "foo"),
    ("DELETE", "/api/v1/namespaces/other/pods", "deletecollection", "", "v1", "other", "pods", "", ""),
    ("DELETE", "/api/v1/nodes", "deletecollection", "", "v1", "", "nodes", "", ""),
    ("PATCH", "/apis/apps/v1/namespaces/shop/deployments/api", "patch", "apps", "v1", "shop", "deployments", "", "api"),
    ("PATCH", "/apis/apps/v1/namespaces/shop/deployments/api/scale",
     "patch", "apps", "v1", "shop", "deployments", "scale", "api"),
    ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
     "create", "authorization.k8s.io", "v1", "", "selfsubjectaccessreviews", "", ""),
    ("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node",
     "get", "rbac.authorization.k8s.io", "v1", "", "clusterroles", "", "system:node"),
    ("GET", "/apis/a/v1/namespaces", "list", "a", "v1", "", "namespaces", "", ""),
    ("GET", "/api/v1/namespaces/secrets", "get", "", "v1", "secrets", "namespaces", "", "secrets"),
    ("GET", "/api/v1/namespaces/secrets/secrets", "list", "", "v1", "secrets", "secrets", "", ""),
    ("GET", "/api/v1/watch/secrets/x", "watch", "", "v1", "", "secrets", "", "x"),
]  # fmt: skip

NO_RESOURCE = [
    ("GET", "/"), ("GET", "/api"), ("GET", "/api/"), ("GET", "/api/v1"), ("GET", "/apis"), ("GET", "/apis/apps"),
    ("GET", "/apis/apps/v1"), ("GET", "/version"), ("GET", "/openapi/v3/apis/apps/v1"), ("POST", "/api/v1"),
    ("GET", "/metrics"), ("GET", "/logs/kubelet.log/x"), ("GET", "/API/v1/secrets"), ("GET", "/healthz?verbose"),
]  # fmt: skip

REFUSED = [
    ("GET", ""), ("GET", "*"), ("GET", "api/v1"), ("GET", "http://elsewhere/api/v1/pods"), ("CONNECT", "host:443"),
    ("OPTIONS", "/api"), ("TRACE", "/api"), ("get", "/api"), ("GET", "//api/v1/pods"), ("GET", "/api//v1/pods"),
    ("GET", "/api/v1/pods//"), ("GET", "/api/v1/./pods"), ("GET", "/api/v1/namespaces/a/../b/secrets"),
    ("GET", "/api/v1/.."), ("GET", "/api/v1/namespaces/a/pods/%2e%2e"), ("GET", "/api/v1/namespaces/a%2fb/pods"),
    ("GET", "/api/v1/s%65crets"), ("GET", "/api/v1/pods\\x"), ("GET", "/api/v1/pods\t"), ("GET", "/api/v1/po ds"),
    ("GET", "/api/v1/pods#x"), ("GET", "/api/v1/pöds"), ("GET", "/api/v1/pods?a=\x00"), ("GET", "/api/v1/watch"),
    ("GET", "/api/v1/proxy/"),
    ("GET", "/api/v1/proxy/nodes/x/metrics"), ("GET", "/api/v1/" + "a" * 20_000), ("GET", "/api/v1/{x}"),
    ("GET", "/api/v1/[x]"),
    ("GET", "/api/v1/pods?watch=1;x"), ("GET", "/api/v1/pods?watch=%zz"), ("GET", "/api/v1/pods?watch=%1"),
]  # fmt: skip


@pytest.mark.parametrize("row", UNDERSTOOD, ids=lambda row: f"{row[0]} {row[1]}")
def test_a_request_is_taken_for_what_the_api_server_takes_it_for(row: tuple[str, ...]) -> None:
    method, target, verb, group, version, namespace, resource, subresource, name = row
    assert understand(method, target) == ApiRequest(
        method=method,
        target=target,
        path=target.partition("?")[0],
        verb=verb,
        group=group,
        version=version,
        namespace=namespace,
        resource=resource,
        subresource=subresource,
        name=name,
    )


@pytest.mark.parametrize(("method", "target"), NO_RESOURCE)
def test_what_is_no_resource_has_its_method_for_a_verb(method: str, target: str) -> None:
    request = understand(method, target)
    assert (request.verb, request.resource, request.kind) == (method.lower(), "", target.partition("?")[0])


@pytest.mark.parametrize(("method", "target"), REFUSED)
def test_what_could_mean_two_things_is_refused(method: str, target: str) -> None:
    with pytest.raises(NotUnderstood):
        understand(method, target)


@pytest.mark.parametrize(
    ("method", "target", "said"),
    [
        ("GET", "/api/v1/namespaces/shop/pods", "list pods -n shop"),
        ("GET", "/api/v1/namespaces/shop/pods/api-1/log", "get pods/log api-1 -n shop"),
        ("DELETE", "/apis/apps/v1/namespaces/shop/deployments/api", "delete deployments.apps api -n shop"),
        ("GET", "/api/v1/namespaces/shop", "get namespaces shop"),
        ("GET", "/version", "get /version"),
    ],
)
def test_a_request_is_said_in_words_that_people_search_for(method: str, target: str, said: str) -> None:
    assert str(understand(method, target)) == said
