"""The WebSocket bridge: /ws/market for clients, fed by the engine's gRPC streams."""

from entasis_engine.websocket.bridge import Bridge, open_bridge
from entasis_engine.websocket.limits import Limits
from entasis_engine.websocket.upstream import CHANNEL_OPTIONS

__all__ = ["CHANNEL_OPTIONS", "Bridge", "Limits", "open_bridge"]
