"""A Modbus slave by pymodbus that misbehaves on request.

    slave.py tcp HOST PORT | slave.py rtu-over-tcp HOST PORT | slave.py rtu PORT

Prints {"ready": true}, then obeys one JSON object per line on stdin and answers each with one JSON line:

    {"unit": 1, "set": {"holding": {"100": [1, 2]}}}   values from an address on; kinds: coil, discrete, input, holding
    {"unit": 1, "counter": 200}                        a u32 (two holding registers) that rises by one at each answered read
    {"unit": 1, "behave": "silent"}                    answer | silent | late:SECONDS | garbage | wrong-unit | wrong-transaction | short | refuse:CODE
                                                       | pretend (acknowledges writes and keeps what it had) | mute (writes and says nothing)
    {"unit": 1, "get": {"holding": [100, 2]}}          -> {"values": [1, 2]}, without a request over the wire
    {"unit": 1, "ask": true}                           -> {"requests": N, "times": [...], "counter": N, "connections": N,
                                                           "writes": [[TIME, ADDRESS, [VALUE, ...]], ...]}

A unit that nobody named does not exist: it stays silent, as on a real line. `times` are seconds of the monotonic
clock at which a request arrived, the newest 2000 of them. Ends when stdin ends.
"""

import asyncio
import json
import logging
import sys
import time
from collections import deque

from pymodbus.datastore import ModbusBaseSlaveContext, ModbusServerContext
from pymodbus.exceptions import NoSuchSlaveException
from pymodbus.framer import FramerType
from pymodbus.pdu.pdu import ExceptionResponse
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler

KINDS = {"coil": "c", "discrete": "d", "input": "i", "holding": "h"}
connections = 0


class Unit(ModbusBaseSlaveContext):
    """Registers of one unit, its counter, and how it behaves."""

    def __init__(self):
        self.tables = {"c": {}, "d": {}, "i": {}, "h": {}}
        self.behave = "answer"
        self.counter_at = None
        self.counter = 0
        self.requests = 0
        self.times = deque(maxlen=2000)
        self.writes = []
        self.pretended = {}

    def validate(self, fc, address, count=1):
        table = self.tables[self.decode(fc)]
        return all(at in table for at in range(address, address + count))

    def getValues(self, fc, address, count=1):
        if self.counter_at is not None and fc in (3, 23) and address <= self.counter_at < address + count:
            self.counter += 1
            self.tables["h"][self.counter_at] = self.counter >> 16 & 0xFFFF
            self.tables["h"][self.counter_at + 1] = self.counter & 0xFFFF
        table = self.tables[self.decode(fc)]
        if fc in (5, 6):
            # What an acknowledgement repeats.
            table = table | self.pretended
        return [table[at] for at in range(address, address + count)]

    def setValues(self, fc, address, values):
        self.writes.append([time.monotonic(), address, list(values)])
        self.pretended = dict(enumerate(values, address)) if self.behave == "pretend" else {}
        if self.pretended:
            return
        self.tables[self.decode(fc)].update(enumerate(values, address))

    def obey(self, order):
        for kind, blocks in order.get("set", {}).items():
            for address, values in blocks.items():
                self.tables[KINDS[kind]].update(enumerate(values, int(address)))
        if "counter" in order:
            self.counter_at = order["counter"]
            self.tables["h"].update({self.counter_at: 0, self.counter_at + 1: 0})
        self.behave = order.get("behave", self.behave)
        for kind, (address, count) in order.get("get", {}).items():
            return {"values": [int(self.tables[KINDS[kind]][at]) for at in range(address, address + count)]}
        return {
            "requests": self.requests,
            "times": list(self.times),
            "counter": self.counter,
            "connections": connections,
            "writes": self.writes if order.get("ask") else [],
        }


class Handler(ServerRequestHandler):
    """Answers as the unit behaves."""

    def handle_later(self):
        # Keep this request: the next one may arrive while a late unit still thinks about this one.
        asyncio.ensure_future(self.answer(self.last_pdu, self.last_addr))

    async def answer(self, request, addr):
        if request is None:
            return
        try:
            unit = self.server.context[request.dev_id]
        except NoSuchSlaveException:
            return
        unit.requests += 1
        unit.times.append(time.monotonic())
        word, _, value = unit.behave.partition(":")
        if word == "silent":
            return
        if word == "late":
            await asyncio.sleep(float(value))
        if word == "refuse":
            response = ExceptionResponse(request.function_code, int(value))
        else:
            response = await request.update_datastore(unit)
        if word == "mute" and request.function_code in (5, 6, 15, 16, 22):
            return
        response.transaction_id = request.transaction_id
        response.dev_id = request.dev_id
        if word == "wrong-unit":
            response.dev_id = request.dev_id + 1
        if word == "wrong-transaction":
            response.transaction_id = (request.transaction_id + 7) & 0xFFFF
        if not self.transport:
            return
        if word == "garbage":
            self.send(bytes(range(0x55, 0x70)))
        elif word == "short":
            self.send(self.framer.buildFrame(response)[:-3])
        else:
            self.pdu_send(response, addr=addr)


class Listening:
    """Makes our handlers."""

    def callback_new_connection(self):
        global connections
        connections += 1
        return Handler(self, self.trace_packet, self.trace_pdu, self.trace_connect)


class Tcp(Listening, ModbusTcpServer):
    pass


class Serial(Listening, ModbusSerialServer):
    pass


async def obey_stdin(units, context):
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        order = json.loads(line)
        unit = units.get(order["unit"])
        if unit is None:
            unit = units[order["unit"]] = Unit()
            context[order["unit"]] = unit
        print(json.dumps(unit.obey(order)), flush=True)


async def main():
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    units = {}
    context = ModbusServerContext(slaves={}, single=False)
    if sys.argv[1] == "rtu":
        server = Serial(context, framer=FramerType.RTU, port=sys.argv[2], baudrate=19200, parity="N", ignore_missing_slaves=True)
    else:
        framer = FramerType.RTU if sys.argv[1] == "rtu-over-tcp" else FramerType.SOCKET
        server = Tcp(context, framer=framer, address=(sys.argv[2], int(sys.argv[3])), ignore_missing_slaves=True)
    await server.serve_forever(background=True)
    print(json.dumps({"ready": True}), flush=True)
    await obey_stdin(units, context)
    await server.shutdown()


asyncio.run(main())
