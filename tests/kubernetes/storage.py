"""The objects of the double: listed, watched, made, changed and deleted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from tests.kubernetes.api import NAMES, Asked

NOW = "2026-11-24T00:00:00Z"
Thing = dict[str, Any]
_COLUMNS = ("Name", "Ready", "Status", "Restarts", "Age")


def pod(namespace: str, name: str, containers: dict[str, str], *, phase: str = "Running") -> Thing:
    """A pod whose *containers* have those images; what an image has on its PATH, containers.py knows."""
    started = {"running": {"startedAt": NOW}} if phase == "Running" else {"waiting": {"reason": "Pending"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name.rpartition("-")[0]}},
        "spec": {
            "nodeName": "node-1",
            "containers": [{"name": c, "image": i} for c, i in containers.items()],
        },
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": str(phase == "Running")}],
            "podIP": "10.0.0.9",
            "containerStatuses": [
                {
                    "name": c,
                    "ready": phase == "Running",
                    "restartCount": 0,
                    "state": started,
                    "image": i,
                    "imageID": "",
                }
                for c, i in containers.items()
            ],
        },
    }


def container_images(made: Thing) -> dict[str, str]:
    """Containers of a pod with their images."""
    return {each["name"]: each["image"] for each in made["spec"]["containers"]}


class Storage:
    def __init__(self) -> None:
        self._things: dict[tuple[str, str, str], Thing] = {}
        self._in_order: list[tuple[str, str, str]] = []
        self._version = 10
        self._watches: dict[asyncio.Queue[tuple[str, str, Thing] | None], asyncio.AbstractEventLoop] = {}

    def get(self, resource: str, namespace: str, name: str) -> Thing | None:
        """The object of that name; a namespace is in none."""
        return self._things.get((resource, "" if resource == "namespaces" else namespace, name))

    def put(self, resource: str, namespace: str, name: str, thing: Thing) -> Thing:
        """Make or replace one; watches hear of it."""
        self._version += 1
        place = (resource, "" if resource == "namespaces" else namespace, name)
        event = "MODIFIED" if place in self._things else "ADDED"
        metadata = {
            "creationTimestamp": NOW,
            "uid": f"u-{resource}-{namespace}-{name}",
            **thing.get("metadata", {}),
        }
        metadata |= {"name": name, "resourceVersion": str(self._version)}
        if place[1]:
            metadata["namespace"] = place[1]
        stored = {"apiVersion": "v1", **thing, "kind": NAMES[resource], "metadata": metadata}
        if resource == "pods" and "status" not in thing:  # there is always a node with room
            images = {each["name"]: each["image"] for each in thing["spec"]["containers"]}
            stored["status"] = pod(namespace, name, images)["status"]
        self._things[place] = stored
        self._tell(event, resource, stored)
        return stored

    def delete(self, resource: str, namespace: str, name: str) -> Thing | None:
        """Remove one; watches hear of it."""
        thing = self._things.pop((resource, "" if resource == "namespaces" else namespace, name), None)
        if thing is not None:
            self._tell("DELETED", resource, thing)
        return thing

    def serve(self, want: Asked, body: Thing, accept: str) -> tuple[int, Thing]:
        """Do what is asked for, and say what became of it."""
        found = self.get(want.resource, want.namespace, want.name)
        match want.verb:
            case "list":
                return 200, self._listed(want, accept)
            case "create":
                name = body["metadata"]["name"]
                namespace = want.namespace
                if self.get(want.resource, namespace, name) is not None:
                    return 409, _status(409, "AlreadyExists", f'{want.resource} "{name}" already exists')
                return 201, self.put(want.resource, namespace, name, body)
        if found is None:
            details = {"name": want.name, "kind": want.resource}
            return 404, _status(404, "NotFound", f'{want.resource} "{want.name}" not found') | {
                "details": details
            }
        match want.verb:
            case "get":
                return 200, _table([found]) if "as=Table" in accept else found
            case "update":
                return 200, self.put(want.resource, want.namespace, want.name, body)
            case "patch":
                return 200, self.put(want.resource, want.namespace, want.name, _merged(found, body))
            case "delete":
                self.delete(want.resource, want.namespace, want.name)
                return 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return 405, _status(405, "MethodNotAllowed", f"there is no {want.verb}")

    async def watch(self, request: web.Request, want: Asked) -> web.StreamResponse:
        """What is there, then what changes, until the time is over or the client goes."""
        as_table = "as=Table" in request.headers.get("Accept", "")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        changes: asyncio.Queue[tuple[str, str, Thing] | None] = asyncio.Queue()
        if not want.query.get("resourceVersion"):
            for thing in self._matching(want):
                changes.put_nowait(("ADDED", want.resource, thing))
        self._watches[changes] = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(float(want.query.get("timeoutSeconds", "300"))):
                while (change := await changes.get()) is not None:
                    event, resource, thing = change
                    if resource == want.resource and _is_wanted(want, thing):
                        line = {"type": event, "object": _table([thing]) if as_table else thing}
                        await response.write(json.dumps(line).encode() + b"\n")
        except TimeoutError:
            pass
        finally:
            self._watches.pop(changes, None)
        return response

    def end_watches(self) -> None:
        for changes in self._watches:
            changes.put_nowait(None)

    def _tell(self, event: str, resource: str, thing: Thing) -> None:
        self._in_order = []
        for changes, loop in list(self._watches.items()):  # tests change things from threads of their own
            loop.call_soon_threadsafe(changes.put_nowait, (event, resource, thing))

    def _matching(self, want: Asked) -> Iterator[Thing]:
        self._in_order = self._in_order or sorted(self._things)
        for place in self._in_order:
            if place[0] == want.resource and _is_wanted(want, self._things[place]):
                yield self._things[place]

    def _listed(self, want: Asked, accept: str) -> Thing:
        things = list(self._matching(want))
        first, limit = int(want.query.get("continue") or 0), int(want.query.get("limit") or 0)
        shown = things[first : first + limit] if limit else things[first:]
        metadata: Thing = {"resourceVersion": str(self._version)}
        if first + len(shown) < len(things):
            metadata |= {
                "continue": str(first + len(shown)),
                "remainingItemCount": len(things) - first - len(shown),
            }
        if "as=Table" in accept:
            return _table(shown, with_object=want.query.get("includeObject") != "None") | {
                "metadata": metadata
            }
        kind = f"{NAMES[want.resource]}List"
        return {"kind": kind, "apiVersion": "v1", "metadata": metadata, "items": shown}


def _is_wanted(want: Asked, thing: Thing) -> bool:
    metadata = thing["metadata"]
    if want.namespace and want.resource != "namespaces" and metadata.get("namespace") != want.namespace:
        return False
    if want.name and metadata["name"] != want.name:
        return False
    fields, labels = want.query.get("fieldSelector", ""), want.query.get("labelSelector", "")
    if fields.startswith("metadata.name=") and metadata["name"] != fields.partition("=")[2]:
        return False
    wanted = dict(pair.replace("==", "=").split("=", 1) for pair in labels.split(",") if "=" in pair)
    return all((metadata.get("labels") or {}).get(key) == value for key, value in wanted.items())


def _merged(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif not key.startswith("$"):
            merged[key] = _merged(merged.get(key), value)
    return merged


def _table(things: list[Thing], *, with_object: bool = True) -> Thing:
    columns = [
        {
            "name": name,
            "type": "string",
            "format": "name" if name == "Name" else "",
            "description": "",
            "priority": 0,
        }
        for name in _COLUMNS
    ]
    rows = []
    for thing in things:
        statuses = thing.get("status", {}).get("containerStatuses", [])
        ready = f"{sum(each['ready'] for each in statuses)}/{len(statuses)}"
        row: Thing = {
            "cells": [thing["metadata"]["name"], ready, thing.get("status", {}).get("phase", ""), 0, "1d"]
        }
        if with_object:
            partial = {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": thing["metadata"],
            }
            row["object"] = partial
        rows.append(row)
    kind = {"kind": "Table", "apiVersion": "meta.k8s.io/v1"}
    return {**kind, "metadata": {}, "columnDefinitions": columns, "rows": rows}


def _status(code: int, reason: str, message: str) -> Thing:
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return status | {"message": message, "reason": reason, "code": code}
