"""The systemd unit of a bastion: what the service may do on its machine, and no more (systemd.exec(5))."""

from __future__ import annotations

from pathlib import Path

from bastion.config.model import Config
from bastion.config.targets import PostgresTarget

SERVICE_USER = "bastion"

_USUAL = {"namespaces": "yes", "calls": "", "families": "", "tunables": "yes"}
_WITH_BOX = {
    "namespaces": "user mnt pid net ipc uts cgroup",
    "calls": " @mount",
    "families": " AF_NETLINK",
    "tunables": "no",
}
"""What bubblewrap needs to make the boxes that psql runs in: namespaces; to mount in them; netlink, to bring up the
loopback of an empty network; and /proc/sys writable, to forbid further user namespaces inside (ordinary users cannot
write the machine's own). The filter of the box takes it all away again from what runs there."""

_UNIT = """\
[Unit]
Description=SSH bastion
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
User={user}
ExecStart={program} --config {config} serve
ExecReload=kill -HUP $MAINPID
Restart=on-failure
RestartSec=1
# Sessions have drain_timeout to end by themselves; their recordings are sealed after that.
TimeoutStopSec={stop_timeout}
KillMode=mixed
UMask=0077
LimitNOFILE=65536

ReadWritePaths={writable}
ProtectSystem=strict
ProtectHome={protect_home}
PrivateTmp=yes
PrivateDevices=yes
ProtectProc=invisible
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables={tunables}
LockPersonality=yes
NoNewPrivileges=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX{families}
RestrictNamespaces={namespaces}
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service{calls}
SystemCallErrorNumber=EPERM
CapabilityBoundingSet={capabilities}
AmbientCapabilities={capabilities}

[Install]
WantedBy=multi-user.target
"""


def service_unit(config: Config, config_file: Path, program: Path) -> str:
    """The text of bastion.service for *config*, which stands in *config_file*; *program* is the bastion command."""
    folders = {config.data, config.recordings_folder}
    writable = [folder for folder in sorted(folders) if not (set(folder.parents) & folders)]
    has_box = any(isinstance(target, PostgresTarget) for target in config.targets)
    in_home = any(_is_in_home(path) for path in (*writable, config_file, program))
    return _UNIT.format(
        user=SERVICE_USER,
        program=_quoted(program),
        config=_quoted(config_file),
        stop_timeout=f"{config.server.drain_timeout.total_seconds() + 15:.0f}s",
        writable=" ".join(_quoted(folder) for folder in writable),
        protect_home="read-only" if in_home else "yes",
        **(_WITH_BOX if has_box else _USUAL),
        capabilities="CAP_NET_BIND_SERVICE" if 0 < config.server.port < 1024 else "",
    )


def _is_in_home(path: Path) -> bool:
    return any(path.is_relative_to(home) for home in ("/home", "/root", "/run/user"))


def _quoted(path: Path) -> str:
    """A path as one word of a unit file, in which % begins a specifier and $ a variable."""
    text = str(path).replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if " " in text else text
