"""An Asterisk manager interface made after its description, on a real socket, that can be told to misbehave."""

from __future__ import annotations

import asyncio
import contextlib

SECRET = "correct-horse"


class FakeAsterisk:
    """``database``: numbers with their ends as text; ``channels``: name → (Uniqueid, value of ANTIFRAUD_CALL)."""

    def __init__(self) -> None:
        self.database: dict[str, str] = {}
        self.channels: dict[str, tuple[str, str]] = {}
        self.started = "2026-11-30"
        self.has_tree = True
        self.greeting = b"Asterisk Call Manager/9.0.0\r\n"
        self.silent: set[str] = set()
        self.garbage: bytes | None = None
        self.seen: list[dict[str, str]] = []
        self.hung_up: list[tuple[str, str]] = []
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

    def publish(self, event: str, **more: str) -> None:
        for writer in self.subscribers:
            writer.write(_message([("Event", event), ("Privilege", "call,all"), *more.items()]))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self.connections += 1
        writer.write(self.greeting)
        logged_in = False
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                raw = await reader.readuntil(b"\r\n\r\n")
                fields = dict(line.split(": ", 1) for line in raw.decode().rstrip("\r\n").split("\r\n"))
                self.seen.append(fields)
                if fields["Action"] in self.silent:
                    continue
                if self.garbage is not None:
                    writer.write(self.garbage)
                    await writer.drain()
                    continue
                if fields["Action"] == "Login":
                    logged_in = fields["Secret"] == SECRET
                    if logged_in and fields["Events"] == "call":
                        self.subscribers.append(writer)
                    text = "Authentication accepted" if logged_in else "Authentication failed"
                    self._respond(writer, fields, logged_in, text)
                    writer.write(b"Event: FullyBooted\r\nPrivilege: system,all\r\nStatus: Fully Booted\r\n\r\n")
                elif not logged_in:
                    self._respond(writer, fields, False, "Permission denied")
                else:
                    self._act(writer, fields)
                await writer.drain()

    def _act(self, writer: asyncio.StreamWriter, fields: dict[str, str]) -> None:
        key = fields.get("Key", "")
        match fields["Action"]:
            case "CoreStatus":
                self._respond(
                    writer,
                    fields,
                    True,
                    "",
                    CoreStartupDate=self.started,
                    CoreStartupTime="10:11:12",
                    CoreCurrentCalls="1",
                )
            case "DBPut":
                self.database[key] = fields["Val"]
                self._respond(writer, fields, True, "Updated database successfully")
            case "DBDel":
                there = self.database.pop(key, None) is not None
                text = "Key deleted successfully" if there else "Database entry not found"
                self._respond(writer, fields, there, text)
            case "DBGet":
                self._respond(writer, fields, key in self.database, "Result will follow")
            case "DBGetTree" if self.has_tree:
                self._list(
                    writer, fields, "DBGetTree",
                    [("DBGetTreeResponse", [("Key", f"/{fields['Family']}/{number}"), ("Val", end)])
                     for number, end in self.database.items()],
                )  # fmt: skip
            case "Command":
                lines = [f"/antifraud_block/{number:<33}: {end:<25}" for number, end in self.database.items()]
                lines.append(f"{len(lines)} results found.")
                output = "".join(f"Output: {line}\r\n" for line in lines)
                writer.write(
                    f"Response: Success\r\nActionID: {fields['ActionID']}\r\nMessage: Command output follows\r\n"
                    f"{output}\r\n".encode()
                )
            case "Status":
                rows = [
                    ("Status", [("Channel", name), ("Uniqueid", uid), ("Variable", f"{fields['Variables']}={call}")])
                    for name, (uid, call) in self.channels.items()
                ]
                self._list(writer, fields, "Status", rows)
            case "Hangup":
                there = self.channels.pop(fields["Channel"], None) is not None
                if there:
                    self.hung_up.append((fields["Channel"], fields["Cause"]))
                self._respond(writer, fields, there, "Channel Hungup" if there else "No such channel")
            case _:
                self._respond(writer, fields, False, "Invalid/unknown command: x. Use Action: ListCommands")

    def _respond(self, writer: asyncio.StreamWriter, fields: dict[str, str], ok: bool, text: str, **more: str) -> None:
        lines = [("Response", "Success" if ok else "Error"), ("ActionID", fields["ActionID"])]
        lines += [("Message", text)] if text else []
        writer.write(_message([*lines, *more.items()]))

    def _list(
        self, writer: asyncio.StreamWriter, fields: dict[str, str], name: str,
        rows: list[tuple[str, list[tuple[str, str]]]],
    ) -> None:  # fmt: skip
        self._respond(writer, fields, True, "Result will follow", EventList="start")
        identity = ("ActionID", fields["ActionID"])
        for event, row in rows:
            writer.write(_message([("Event", event), *row, identity]))
        writer.write(_message([("Event", f"{name}Complete"), identity, ("EventList", "Complete")]))


def _message(lines: list[tuple[str, str]]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in lines).encode() + b"\r\n"
