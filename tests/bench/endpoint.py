#!/usr/bin/env python3
"""What the endpoint costs beside mosquitto: memory of a thousand connected devices, and messages a second.

    tests/bench/endpoint.py target/release/tidegate

Ten clients, window 20, 200 bytes, QoS 1, both brokers in turn in one run. The endpoint's messages are on disk before they are
acknowledged; mosquitto's are in memory. Only the standard library, so that the generator costs the same for both.
"""

import base64
import hashlib
import hmac
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

CLIENTS, WINDOW, SIZE, SECONDS, DEVICES = 10, 20, 200, 5, 1000
PACE = 2000  # messages a second, of all clients together, for what one costs when there is time
KEY = bytes(range(32))


def text(s):
    raw = s.encode()
    return len(raw).to_bytes(2, "big") + raw


def packet(kind, body):
    length, out = len(body), bytearray([kind])
    while True:
        length, digit = divmod(length, 128)
        out.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(out) + body


def connect(address, client_id, login=None):
    flags, tail = (0xC2, text(login[0]) + text(login[1])) if login else (0x02, b"")
    hello = packet(0x10, text("MQTT") + bytes([4, flags]) + (300).to_bytes(2, "big") + text(client_id) + tail)
    stream = socket.create_connection(address)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.sendall(hello)
    answer = stream.recv(4)
    assert answer == b"\x20\x02\x00\x00", (client_id, answer)
    return stream


def login(device):
    resource = urllib.parse.quote(f"hub/devices/{device}", safe="")
    until = str(int(time.time()) + 3600)
    signed = hmac.new(KEY, f"{resource}\n{until}".encode(), hashlib.sha256).digest()
    token = f"SharedAccessSignature sr={resource}&sig={urllib.parse.quote(base64.b64encode(signed), safe='')}&se={until}"
    return f"hub/{device}/?api-version=2021-04-12", token


def publish_steadily(stream, topic, until, counts, at):
    body = text(topic)
    ids, flying, acked, rest = 0, 0, 0, b""
    while time.monotonic() < until:
        burst = bytearray()
        while flying < WINDOW:
            ids = ids % 65535 + 1
            burst += packet(0x32, body + ids.to_bytes(2, "big") + b"x" * SIZE)
            flying += 1
        stream.sendall(burst)
        rest += stream.recv(65536)
        whole = len(rest) // 4
        rest, flying, acked = rest[whole * 4 :], flying - whole, acked + whole
    counts[at] = acked


def publish_unacknowledged(*args):
    publish_paced(*args, qos=0)


def publish_paced(stream, topic, until, counts, at, qos=1):
    """One message after the other, at an even pace."""
    body, gap = text(topic), CLIENTS / PACE
    due, ids = time.monotonic() + gap * at / CLIENTS, 0
    while (now := time.monotonic()) < until:
        if now < due:
            time.sleep(due - now)
        due += gap
        ids = ids % 65535 + 1
        stream.sendall(packet(0x30 | qos << 1, body + ids.to_bytes(2, "big") * qos + b"x" * SIZE))
        if qos:
            answer = stream.recv(4)
            assert len(answer) == 4, answer
        counts[at] += 1


def rate(address, who, publish=publish_steadily):
    """Acknowledged messages a second; `who` gives each client's id, login and topic."""
    streams = [connect(address, *who(n)[:2]) for n in range(CLIENTS)]
    counts, until = [0] * CLIENTS, time.monotonic() + SECONDS
    threads = [threading.Thread(target=publish, args=(s, who(n)[2], until, counts, n)) for n, s in enumerate(streams)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - begun
    for stream in streams:
        stream.close()
    return sum(counts) / took


def processor_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid):
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(address):
    while True:
        try:
            return socket.create_connection(address).close()
        except OSError:
            time.sleep(0.05)


def ask(state, question):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(f"{state}/control.sock")
        s.sendall(json.dumps(question).encode() + b"\n")
        return json.loads(s.makefile().readline())


def tidegate(program, room):
    address = ("127.0.0.1", free_port())
    state = f"{room}/state"
    listen = f"{address[0]}:{address[1]}"
    hub = subprocess.Popen([program, "hub", "--state", state, "--plain", listen], stderr=subprocess.DEVNULL)
    wait_for(address)
    try:
        proof = {"by": "keys", "primary": base64.b64encode(KEY).decode(), "secondary": None}
        for n in range(DEVICES):
            ask(state, {"hub": "add", "device": f"d{n}", "proof": proof, "disabled": False})
        empty = resident(hub.pid)
        crowd = [connect(address, f"d{n}", login(f"d{n}")) for n in range(DEVICES)]
        full = resident(hub.pid)
        before = processor_seconds(hub.pid)
        time.sleep(5)
        idle = processor_seconds(hub.pid) - before
        for stream in crowd:
            stream.close()
        before, commits = processor_seconds(hub.pid), ask(state, {"do": "status"})["counters"]["commits"]
        per_second = rate(address, lambda n: (f"d{n}", login(f"d{n}"), f"devices/d{n}/messages/events/"))
        used = processor_seconds(hub.pid) - before
        commits = ask(state, {"do": "status"})["counters"]["commits"] - commits
        before, paced_commits = processor_seconds(hub.pid), ask(state, {"do": "status"})["counters"]["commits"]
        paced = rate(address, lambda n: (f"d{n}", login(f"d{n}"), f"devices/d{n}/messages/events/"), publish_paced)
        paced_used = processor_seconds(hub.pid) - before
        paced_commits = ask(state, {"do": "status"})["counters"]["commits"] - paced_commits
        before = processor_seconds(hub.pid)
        lazy = rate(address, lambda n: (f"d{n}", login(f"d{n}"), f"devices/d{n}/messages/events/"), publish_unacknowledged)
        lazy_used = processor_seconds(hub.pid) - before
    finally:
        hub.send_signal(signal.SIGTERM)
        hub.wait()
    sent = per_second * SECONDS
    print(f"tidegate: {empty:.1f} MiB with no device, {full:.1f} MiB with {DEVICES}; these use {idle / 5 * 100:.2f} % of a core")
    print(f"tidegate: {per_second:,.0f} durable messages/s, {used / sent * 1e6:.1f} us of processor each, {commits / sent:.3f} commits each")
    sent = paced * SECONDS
    print(f"tidegate: at {paced:,.0f} a second {paced_used / sent * 1e6:.0f} us of processor each, {paced_commits / sent:.2f} commits each")
    print(f"tidegate: at {lazy:,.0f} a second of QoS 0, with no commit of their own, {lazy_used / (lazy * SECONDS) * 1e6:.0f} us each")


def mosquitto(room):
    port = free_port()
    Path(room, "mosquitto.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
    broker = subprocess.Popen(["mosquitto", "-c", f"{room}/mosquitto.conf"], stderr=subprocess.DEVNULL)
    address = ("127.0.0.1", port)
    wait_for(address)
    try:
        before = processor_seconds(broker.pid)
        per_second = rate(address, lambda n: (f"d{n}", None, f"devices/d{n}/messages/events/"))
        used = processor_seconds(broker.pid) - before
        before = processor_seconds(broker.pid)
        paced = rate(address, lambda n: (f"d{n}", None, f"devices/d{n}/messages/events/"), publish_paced)
        paced_used = processor_seconds(broker.pid) - before
    finally:
        broker.terminate()
        broker.wait()
    print(f"mosquitto: {per_second:,.0f} messages/s in memory, {used / (per_second * SECONDS) * 1e6:.1f} us of processor each")
    print(f"mosquitto: at {paced:,.0f} a second {paced_used / (paced * SECONDS) * 1e6:.0f} us of processor each")


def main():
    program = os.path.abspath(sys.argv[1])
    os.environ["PATH"] += ":/usr/sbin"
    room = tempfile.mkdtemp()
    try:
        for _ in range(2):
            mosquitto(room)
            tidegate(program, room)
            shutil.rmtree(f"{room}/state")
    finally:
        shutil.rmtree(room)


main()
