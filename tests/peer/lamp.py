"""A lamp on the site bus that speaks as Tasmota does, by paho.

    lamp.py HOST PORT DEVICE PASSWORD COUNT

Publishes {"n": 1} to {"n": COUNT} at QoS 1 to tele/DEVICE/SENSOR, each once the one before was acknowledged, and prints
{"acknowledged": n}; prints {"topic": "...", "body": "..."} for each command; {"ready": true} once it has subscribed. Ends when stdin ends.
"""

import json
import sys
import threading

import paho.mqtt.client as mqtt

host, port, device, password, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])


def say(**what):
    print(json.dumps(what), flush=True)


acknowledged = set()
came = threading.Condition()


def published(_, __, mid, *___):
    with came:
        acknowledged.add(mid)
        came.notify()


def publish():
    for n in range(1, count + 1):
        # Sent again by paho after each loss of the connection, until it is acknowledged; without one it waits within paho.
        mid = client.publish(f"tele/{device}/SENSOR", json.dumps({"n": n}), qos=1).mid
        with came:
            came.wait_for(lambda: mid in acknowledged)
            acknowledged.discard(mid)
        say(acknowledged=n)


client = mqtt.Client(client_id=device, clean_session=False, reconnect_on_failure=True)
client.username_pw_set(device, password)
client.will_set(f"tele/{device}/LWT", "Offline", qos=1, retain=True)
client.on_connect = lambda *_: client.subscribe(f"cmnd/{device}/#", 1)
client.on_message = lambda _, __, message: say(topic=message.topic, body=message.payload.decode())
client.on_publish = published
client.on_subscribe = lambda *_: say(ready=True)
client.reconnect_delay_set(1, 1)
client.connect(host, port, keepalive=5)
client.loop_start()
threading.Thread(target=publish, daemon=True).start()
sys.stdin.read()
