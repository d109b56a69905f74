"""The capture reader: SIP calls in pcap and pcapng files."""

from __future__ import annotations

from sip_adapters.capture.calls import Calls
from sip_adapters.capture.frames import Frames, Packet
from sip_adapters.capture.reader import READER, CaptureReader, read_frames
from sip_adapters.capture.streams import Streams

__all__ = ["READER", "Calls", "CaptureReader", "Frames", "Packet", "Streams", "read_frames"]
