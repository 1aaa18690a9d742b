"""Devices on a serial line, by pyserial.

    line.py board PORT BAUD        prints {"n": 1, "fixed": 21, "zero": 0} by itself, n rising, between noise and in pieces
    line.py controller PORT BAUD   answers STX address RT ETX bcc with its set-point, takes STX address WS value ETX bcc

Prints {"ready": true}. The controller prints each set-point that it takes as {"set": value}. Ends when killed or when the port is gone.
"""

import json
import random
import sys
import time

import serial

STX, ETX = b"\x02", b"\x03"


def board(port):
    chance = random.Random(1)
    n = 0
    while True:
        n += 1
        line = json.dumps({"n": n, "fixed": 21, "zero": 0}).encode() + b"\r\n"
        # Noise as a plug makes it; never the brace that a line begins with.
        noise = bytes(chance.choice(b"\x00\xff\x80~?") for _ in range(chance.randrange(6))) + b"\n" if n % 5 == 0 else b""
        cut = chance.randrange(len(line))
        port.write(noise + line[:cut])
        port.flush()
        time.sleep(chance.random() / 100)
        port.write(line[cut:])
        time.sleep(0.03)


def framed(text):
    body = text.encode() + ETX
    check = 0
    for byte in body:
        check ^= byte
    return STX + body + bytes([check])


def controller(port):
    setpoint, heard, answers = 20.0, b"", 0
    while True:
        heard += port.read(1)
        start, end = heard.find(STX), heard.find(ETX)
        if start < 0 or end < start or len(heard) < end + 2:
            continue
        frame, heard = heard[start : end + 2], b""
        text = frame[1:-2].decode("ascii", "replace")
        if framed(text) != frame or not text.startswith("07"):
            continue
        answers += 1
        if text == "07RT":
            answer = framed(f"07RT{setpoint:+07.1f}")
            # Every fourth answer is bitten by the cable.
            port.write(answer if answers % 4 else answer[:4] + b"9" + answer[5:])
        elif text.startswith("07WS"):
            setpoint = float(text[4:])
            print(json.dumps({"set": setpoint}), flush=True)
            port.write(framed("07OK"))


if __name__ == "__main__":
    kind, path, baud = sys.argv[1:4]
    opened = serial.Serial(path, int(baud), exclusive=False)
    print(json.dumps({"ready": True}), flush=True)
    try:
        {"board": board, "controller": controller}[kind](opened)
    except (serial.SerialException, OSError):
        sys.exit(0)
