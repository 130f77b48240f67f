"""Kubeconfigs as kubectl itself reads them."""

from __future__ import annotations

import base64
import json
import subprocess
from dataclasses import replace
from pathlib import Path

from bastion.kubectl.kubeconfig import Kubeconfig

ALICE = Kubeconfig(
    target="prod-k8s",
    user='alice "a" ames',
    token="t0ken",
    root="-----BEGIN CERTIFICATE-----\n",
    expires_at=1_800_000_000,
    ssh="ssh -p 2222 bastion.example.com",
    bastion="bastion.example.com",
    namespace="shop",
)


def seen_by_kubectl(kubeconfig: Kubeconfig, folder: Path) -> dict[str, dict[str, str]]:
    """The cluster, the user and the context of the file, by kubectl's reading."""
    file = folder / "kubeconfig"
    file.write_text(str(kubeconfig))
    command = ["kubectl", "--kubeconfig", str(file), "config", "view", "--raw", "--minify", "-o", "json"]
    found = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=20).stdout)
    return {kind: found[f"{kind}s"][0][kind] for kind in ("cluster", "user", "context")}


def test_kubectl_reads_a_kubeconfig_for_a_socks_proxy(tmp_path: Path) -> None:
    found = seen_by_kubectl(ALICE, tmp_path)
    assert found["cluster"] == {
        "server": "https://prod-k8s:443",
        "proxy-url": "socks5://127.0.0.1:1080",
        "certificate-authority-data": base64.b64encode(ALICE.root.encode()).decode(),
    }
    assert found["user"] == {"token": "t0ken"}
    assert found["context"] == {"cluster": "prod-k8s", "user": f"{ALICE.user}@prod-k8s", "namespace": "shop"}
    assert "#   ssh -N -D 127.0.0.1:1080 -p 2222 bastion.example.com &" in str(ALICE)
    assert "until 2027-01-15 08:00 UTC" in str(ALICE)


def test_kubectl_reads_a_kubeconfig_for_a_forwarded_port(tmp_path: Path) -> None:
    forwarded = replace(ALICE, local_port=6443, is_forward=True, namespace=None)
    found = seen_by_kubectl(forwarded, tmp_path)
    assert found["cluster"]["server"] == "https://127.0.0.1:6443"
    assert found["cluster"]["tls-server-name"] == "prod-k8s"
    assert "namespace" not in found["context"]
    assert "#   ssh -N -L 127.0.0.1:6443:prod-k8s:443 -p 2222 bastion.example.com &" in str(forwarded)
