"""What an exec or attach over a WebSocket is made of: its protocols, and the number before each message.

v5 adds *CLOSE*, which ends one stream (Kubernetes KEP-4006); older servers know v4 only.
"""

from __future__ import annotations

V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
STDIN, STDOUT, STDERR, STATUS, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
