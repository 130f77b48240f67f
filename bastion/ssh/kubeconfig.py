"""`ssh bastion kubeconfig TARGET`: what a person's own kubectl needs to reach a cluster through the bastion."""

from __future__ import annotations

import secrets

from bastion.config.targets import KubernetesTarget
from bastion.errors import SessionRefused
from bastion.kubectl.kubeconfig import SOCKS_PORT, Kubeconfig, token_digest
from bastion.ssh.call import Call, UsageError
from policy.decide import no_such_target

_USAGE = "ssh BASTION kubeconfig TARGET [--local-port PORT | --socks-port PORT]"


async def kubeconfig(call: Call) -> int:
    """Print the kubeconfig, with a token for this sign-in."""
    name, ports = _understood(call.arguments)
    front, person = call.front, call.person
    target = front.admission.visible(person, name)
    if target is None:
        raise SessionRefused(no_such_target(name).reason)
    if not isinstance(target, KubernetesTarget):
        raise UsageError(f"{name} is no Kubernetes cluster: it is of the kind {target.kind}")
    token = secrets.token_urlsafe(32)
    await front.state.kubeconfigs.add(
        token_digest(token), serial=person.serial, target=target.name, expires_at=person.expires_at
    )
    await front.state.audit.record(
        "kubeconfig.issued", user=person.user, client=str(call.client), target=target.name
    )
    server = front.config().server
    port = server.public_port or server.port
    text = Kubeconfig(
        target=target.name,
        user=person.user,
        token=token,
        root=front.authorities.tls.root,
        expires_at=person.expires_at,
        ssh=f"ssh {server.public_name}" if port == 22 else f"ssh -p {port} {server.public_name}",
        bastion=server.public_name,
        namespace=target.namespace,
        local_port=ports.get("--local-port") or ports.get("--socks-port") or SOCKS_PORT,
        is_forward="--local-port" in ports,
    )
    await call.terminal.say(str(text))
    return 0


def _understood(arguments: tuple[str, ...]) -> tuple[str, dict[str, int]]:
    """The name of the target, and the ports that were given."""
    names: list[str] = []
    ports: dict[str, int] = {}
    words = iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        if option in ("--local-port", "--socks-port"):
            ports[option] = _port(option, value if equals else next(words, ""))
        elif word.startswith("-"):
            raise UsageError(f"kubeconfig does not know {option}", hint=_USAGE)
        else:
            names.append(word)
    if len(names) != 1 or len(ports) > 1:
        raise UsageError("name one cluster, and one port at most", hint=_USAGE)
    return names[0], ports


def _port(option: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 5 and 0 < int(value) < 65536):
        raise UsageError(f"{option} needs the number of a port, such as {option} 6443", hint=_USAGE)
    return int(value)
