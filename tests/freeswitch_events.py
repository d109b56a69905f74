"""A FreeSWITCH event socket made after its description, on a real socket, that can be told to misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import json

PASSWORD = "ClueCon-not"


class FakeFreeSwitch:
    """``database``: ``realm_key`` → value; ``channels``: UUID → (caller, callee, SIP Call-ID)."""

    def __init__(self) -> None:
        self.database: dict[str, str] = {}
        self.channels: dict[str, tuple[str, str, str]] = {}
        self.core = "11111111-2222-3333-4444-555555555555"
        self.silent: set[str] = set()
        self.garbage: bytes | None = None
        self.rejects = False
        self.seen: list[str] = []
        self.killed: list[tuple[str, str]] = []
        self.port = 0
        self.connections = 0
        self.subscribers: list[asyncio.StreamWriter] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
        self._writers.clear()
        self.subscribers.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._server.wait_closed(), 1)

    def publish(self, event: dict[str, str]) -> None:
        body = json.dumps(event).encode()
        for writer in self.subscribers:
            writer.write(f"Content-Length: {len(body)}\nContent-Type: text/event-json\n\n".encode() + body)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self.connections += 1
        if self.rejects:
            text = b"Access Denied, go away.\n"
            writer.write(f"Content-Type: text/rude-rejection\nContent-Length: {len(text)}\n\n".encode() + text)
            writer.close()
            return
        writer.write(b"Content-Type: auth/request\n\n")
        logged_in = False
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                command = (await reader.readuntil(b"\n\n")).decode().removesuffix("\n\n")
                self.seen.append(command)
                word, _, rest = command.partition(" ")
                if word in self.silent or rest.split(" ")[0] in self.silent:
                    continue
                if self.garbage is not None:
                    writer.write(self.garbage)
                elif word == "auth":
                    logged_in = rest == PASSWORD
                    reply = "+OK accepted" if logged_in else "-ERR invalid"
                    writer.write(f"Content-Type: command/reply\nReply-Text: {reply}\n\n".encode())
                elif not logged_in:
                    writer.write(b"Content-Type: command/reply\nReply-Text: -ERR command not found\n\n")
                elif word == "event":
                    self.subscribers.append(writer)
                    writer.write(b"Content-Type: command/reply\nReply-Text: +OK event listener enabled json\n\n")
                else:
                    body = self._api(rest).encode()
                    writer.write(f"Content-Type: api/response\nContent-Length: {len(body)}\n\n".encode() + body)
                await writer.drain()

    def _api(self, command: str) -> str:
        match command.split(" "):
            case ["global_getvar", "core_uuid"]:
                return self.core
            case ["hash", argument]:
                return self._hash(argument.split("/"))
            case ["hash_dump", "db", realm]:
                lines = [f"D/{key}/{value}\n" for key, value in self.database.items() if key.startswith(f"{realm}_")]
                return "".join(lines)
            case ["uuid_exists", uuid]:
                return "true" if uuid in self.channels else "false"
            case ["uuid_kill", uuid, cause]:
                if self.channels.pop(uuid, None) is None:
                    return "-ERR No such channel!\n"
                self.killed.append((uuid, cause))
                return "+OK\n"
            case ["uuid_getvar", uuid, "sip_call_id"]:
                return self.channels[uuid][2] if uuid in self.channels else "-ERR No such channel!\n"
            case ["show", "channels", "as", "json"]:
                rows = [
                    {"uuid": uuid, "direction": "inbound", "cid_num": caller, "dest": callee, "name": "sofia/x"}
                    for uuid, (caller, callee, _) in self.channels.items()
                ]
                return json.dumps({"row_count": len(rows), **({"rows": rows} if rows else {})}) + "\n"
            case _:
                return f"-ERR {command.split(' ')[0]} Command not found!\n"

    def _hash(self, words: list[str]) -> str:
        match words:
            case ["insert", realm, key, value]:
                self.database[f"{realm}_{key}"] = value
                return "+OK\n"
            case ["delete", realm, key]:
                there = self.database.pop(f"{realm}_{key}", None) is not None
                return "+OK\n" if there else "-ERR Not found\n"
            case _:
                return "-ERR Usage: hash [insert|delete|select]/<realm>/<key>/<value>\n"
