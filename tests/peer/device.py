"""A device at the endpoint, by paho: prints what it is sent and answers every method.

    device.py HOST PORT DEVICE PASSWORD

One JSON line for each message: {"topic": "...", "body": "..."}; {"ready": true} once it has subscribed. A method is answered with
status 299 and what was asked: {"asked": ...}. Ends when stdin ends.
"""

import json
import sys

import paho.mqtt.client as mqtt


def say(**what):
    print(json.dumps(what), flush=True)


def connected(client, *_):
    client.subscribe([(f"devices/{sys.argv[3]}/messages/devicebound/#", 1), ("$iothub/methods/POST/#", 0)])


def came(client, _, message):
    if message.topic.startswith("$iothub/methods/POST/"):
        request = message.topic.split("$rid=")[1]
        answer = {"asked": json.loads(message.payload or b"null")}
        client.publish(f"$iothub/methods/res/299/?$rid={request}", json.dumps(answer))
    say(topic=message.topic, body=message.payload.decode())


client = mqtt.Client(client_id=sys.argv[3], clean_session=False, reconnect_on_failure=True)
client.username_pw_set(sys.argv[3], sys.argv[4])
client.on_connect, client.on_message = connected, came
client.on_subscribe = lambda *_: say(ready=True)
client.reconnect_delay_set(1, 1)
client.connect(sys.argv[1], int(sys.argv[2]))
client.loop_start()
sys.stdin.read()
