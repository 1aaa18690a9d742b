"""The program under judgement, as its judges handle it: started, killed, asked from its own command line."""

import json
import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path


# The documentation's own example of an enrolment group's key, and what it derives for one registration.
GROUP_KEY = "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw=="
REGISTRATION = "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6"
DERIVED_KEY = "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc="


class Hub:
    def __init__(self, program, room):
        self.program, self.room, self.process = program, Path(room), None
        (self.room / "tidegate.toml").write_text(
            f"""config_version = 1
[gateway]
id = "judged"
state_dir = "{room}/state"
[clock]
wait = "0s"
[endpoint]
tls = "127.0.0.1:8883"
websocket = "127.0.0.1:443"
plain = "127.0.0.1:1883"
certificate_names = ["localhost"]
client_ca_file = "{room}/ca.pem"
[endpoint.provisioning]
id_scope = "0neJudge"
group_key_file = "{room}/group"
"""
        )
        (self.room / "group").write_text(GROUP_KEY)

    def start(self):
        log = open(self.room / "hub.log", "ab")
        self.process = subprocess.Popen([self.program, "--config", str(self.room), "hub"], stderr=log, stdout=log)
        until("the hub answers", lambda: self.try_ask("status", "--json"))
        until("the hub listens", lambda: len(self.status()["endpoint"]["listening"]) == 3)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, "the hub did not end well"

    def try_ask(self, *args):
        done = subprocess.run([self.program, "--config", str(self.room), *args], capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else None

    def ask(self, *args):
        done = subprocess.run([self.program, "--config", str(self.room), *args], capture_output=True, text=True)
        assert done.returncode == 0, f"{args}: {done.stderr}"
        return done.stdout

    def json(self, *args):
        return json.loads(self.ask(*args, "--json"))

    def status(self):
        return self.json("status")

    def authority(self):
        return self.ask("device", "authority")

    def connection_string(self, *args):
        return self.ask("device", "add", *args, "--host", "localhost").strip().splitlines()[-1]

    def messages(self):
        """Everything in the log, oldest first: device, properties, body."""
        with sqlite3.connect(f"file:{self.room}/state/log.db?mode=ro", uri=True) as log:
            rows = log.execute("SELECT leaf, properties, body FROM message_0 ORDER BY seq").fetchall()
        return [(leaf, json.loads(properties or "{}"), bytes(body)) for leaf, properties, body in rows]


def until(what, look, limit=60):
    end = time.monotonic() + limit
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"not within {limit} s: {what}"
        time.sleep(0.05)
