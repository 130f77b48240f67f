"""Fixtures that every test may use: a whole running bastion, and the ssh of the people who use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.rig.bastion import Bastion
from tests.rig.openssh import Client
from tests.rig.world import World

hypothesis.settings.register_profile("no clock", deadline=None)
hypothesis.settings.load_profile("no clock")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kubernetes",
        metavar="KUBECONFIG",
        help="Run the tests of clusters against this one, not against a double.",
    )
    parser.addoption(
        "--kubernetes-image",
        metavar="IMAGE",
        default="busybox:1",
        help="What to run in its pods; it needs a shell.",
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A running bastion with the targets web-1 and web-2, for the tests of one module together."""
    with World(tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture
def own_world(tmp_path: Path) -> Iterator[World]:
    """The same for one test alone, which may kill it, fill its disk or change its policy."""
    with World(tmp_path / "world") as world:
        yield world


@pytest.fixture
def bastion(world: World) -> Bastion:
    """The running server of `world`."""
    return world.bastion


@pytest.fixture
def sign_in(world: World) -> Callable[[str], Client]:
    """`sign_in("alice")` is the ssh of alice, with a certificate that `ssh login@…` gave her."""
    return world.certified
