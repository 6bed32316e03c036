"""A browser's side of one page: Streamlit's WebSocket protocol, without drawing anything."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from streamlit.components.v2.bidi_component.main import _make_trigger_id
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

PATIENCE_SECONDS = 90.0
Value = str | bool


class Session:
    """One person at one page of a server at this machine."""

    def __init__(self, port: int, page: str, query: str = "") -> None:
        self.port, self.page, self.query = port, page, query
        self.values: dict[str, Value] = {}
        """Key, or form button's label -> what is in the widget, where that is not what it began with."""
        self.ids: dict[str, str] = {}
        """id -> key or label."""
        self.components: list[dict[str, Any]] = []
        """What our components were told, the newest last."""
        self.words: list[str] = []
        """Toasts, notices and texts, the newest last."""
        self.about = ""
        """What the last trigger was about."""
        self.num_draws, self.is_closed = 0, False
        self._hash = ""
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._socket: ClientConnection = await connect(
            f"ws://127.0.0.1:{self.port}/_stcore/stream", origin=Origin(f"http://127.0.0.1:{self.port}"),
            subprotocols=[Subprotocol("streamlit")], max_size=None, ping_interval=None, open_timeout=60)
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        self._listening.cancel()
        with contextlib.suppress(Exception):
            await self._socket.close()

    async def draw(self) -> None:
        """Have the page drawn with what is in the widgets, and wait for its end."""
        await self._act()
        await self.until(lambda: self._finished > 0)

    async def press(self, name: str) -> None:
        """Press a button, by its key or, of a form, its label; waits for nothing."""
        await self._act(pressed=self.id_of(name))

    async def trigger(self, component: str, event: str, value: object) -> None:
        """As a component of ours tells something."""
        name = _make_trigger_id(self.id_of(component), "events")
        await self._act(told=(name, json.dumps([{"event": event, "value": value}])))

    def id_of(self, name: str) -> str:
        found = [one for one, key in self.ids.items() if name in (one, key) or one.endswith(f"-{name}")]
        if not found:
            raise LookupError(f"the page must have {name!r}; it says {self.words[-6:]}")
        return found[-1]

    def has(self, name: str) -> bool:
        return any(name == key or one.endswith(f"-{name}") for one, key in self.ids.items())

    async def until(self, is_so: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> bool:
        """Wait until it is so; False where the server went away or the time was over before."""
        end = asyncio.get_running_loop().time() + seconds
        while not is_so():
            left = end - asyncio.get_running_loop().time()
            if self.is_closed or left <= 0:
                return is_so()
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), left)
        return True

    async def _act(self, pressed: str = "", told: tuple[str, str] | None = None) -> None:
        self._finished = 0
        message = BackMsg()
        state = message.rerun_script
        state.page_script_hash, state.query_string = self._hash, self.query
        state.page_name = "" if self._hash else self.page
        for name, value in self.values.items():
            if isinstance(value, bool):
                state.widget_states.widgets.add(id=self.id_of(name), bool_value=value)
            else:
                state.widget_states.widgets.add(id=self.id_of(name), string_value=value)
        if pressed:
            state.widget_states.widgets.add(id=pressed, trigger_value=True)
        if told is not None:
            state.widget_states.widgets.add(id=told[0], json_trigger_value=told[1])
        with contextlib.suppress(ConnectionClosed):
            await self._socket.send(message.SerializeToString())

    async def _listen(self) -> None:
        try:
            async for raw in self._socket:
                self._hear(ForwardMsg.FromString(raw if isinstance(raw, bytes) else raw.encode()))
                self._news.set()
        except ConnectionClosed:
            pass
        finally:
            self.is_closed = True
            self._news.set()

    def _hear(self, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        if kind == "navigation":
            self._hash = message.navigation.page_script_hash
        elif kind == "script_finished":
            self.num_draws += 1
            self._finished += 1
        elif kind == "delta" and message.delta.WhichOneof("type") == "add_block":
            block = message.delta.add_block
            if block.WhichOneof("type") == "expandable" and block.expandable.id:
                self.ids[block.expandable.id] = block.expandable.label
        elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            element = message.delta.new_element
            name = element.WhichOneof("type")
            self._see(name, getattr(element, name))

    def _see(self, kind: str, one: Any) -> None:
        if kind in ("toast", "alert", "markdown"):
            self.words.append(one.body)
        elif kind == "bidi_component":
            self.ids[one.id] = one.component_name
            with contextlib.suppress(ValueError):
                self.components.append(json.loads(one.json))
        elif getattr(one, "id", ""):
            key = one.id.rpartition("-")[2]
            is_nameless = key == "None" or (kind == "button" and one.is_form_submitter)
            self.ids[one.id] = one.label if is_nameless else key
