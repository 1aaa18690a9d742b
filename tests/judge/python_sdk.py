"""Microsoft's Python device SDK (azure-iot-device 2.14.0) as a leaf device, against the real program.

Each case is a function; what it asserts is what a device of that SDK may rely on with IoT Hub.
"""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

from azure.iot.device import IoTHubDeviceClient, IoTHubModuleClient, Message, MethodResponse, ProvisioningDeviceClient, X509

sys.path.insert(0, str(Path(__file__).parent))
from hub import DERIVED_KEY, REGISTRATION, Hub, until  # noqa: E402

PROGRAM, ROOM = sys.argv[1], sys.argv[2]
hub = Hub(PROGRAM, ROOM)
CASES = []


def case(function):
    CASES.append(function)
    return function


def client_of(connection_string, kind=IoTHubDeviceClient, **options):
    return kind.create_from_connection_string(connection_string, server_verification_cert=hub.authority(), **options)


@case
def telemetry_arrives_with_its_properties_and_in_order():
    client = client_of(hub.connection_string("telemetry"))
    client.connect()
    message = Message(json.dumps({"t": 21.5}), message_id="abc", content_type="application/json", content_encoding="utf-8")
    message.correlation_id = "c-1"
    message.custom_properties["level"] = "high & low"
    client.send_message(message)
    for n in range(50):
        client.send_message(str(n))
    client.shutdown()
    mine = [(p, body) for leaf, p, body in hub.messages() if leaf == "telemetry"]
    properties, body = mine[0]
    assert json.loads(body) == {"t": 21.5}
    assert (properties["$.mid"], properties["$.cid"], properties["$.ct"], properties["$.ce"]) == ("abc", "c-1", "application/json", "utf-8")
    assert properties["level"] == "high & low"
    assert [body for _, body in mine[1:]] == [str(n).encode() for n in range(50)]


@case
def telemetry_over_websockets():
    client = client_of(hub.connection_string("by-web"), websockets=True)
    client.connect()
    client.send_message("x" * 200_000)
    client.shutdown()
    assert any(leaf == "by-web" and len(body) == 200_000 for leaf, _, body in hub.messages())


@case
def a_gateway_host_name_is_followed_and_the_hubs_name_kept():
    plain = hub.connection_string("below")
    through = plain.replace("HostName=localhost", "HostName=contoso.azure-devices.net") + ";GatewayHostName=localhost"
    client = client_of(through)
    client.connect()
    client.send_message("hello")
    client.shutdown()
    assert any(leaf == "below" for leaf, _, _ in hub.messages())


@case
def c2d_messages_arrive_once_each_with_their_properties():
    connection_string = hub.connection_string("c2d")
    client = client_of(connection_string)
    got = []
    client.on_message_received = lambda message: got.append(message)
    client.connect()
    sent = hub.json("send", "c2d", "hello", "--property", "colour=a & b", "--ack", "full")
    until("the message is there", lambda: got)
    first = got[0]
    assert (first.data, first.message_id, first.custom_properties["colour"]) == (b"hello", sent["message_id"], "a & b")
    assert first.ack == "full"
    client.shutdown()
    # While it is away they wait, and come with the next connection.
    for n in range(5):
        hub.ask("send", "c2d", f"later {n}")
    client = client_of(connection_string)
    client.on_message_received = lambda message: got.append(message)
    client.connect()
    until("what waited is there", lambda: len(got) == 6)
    assert [message.data for message in got[1:]] == [f"later {n}".encode() for n in range(5)]
    until("nothing waits", lambda: hub.json("device", "show", "c2d")["waiting"] == 0)
    client.shutdown()
    feedback = hub.json("device", "feedback", "--take")
    assert [(record["message_id"], record["code"]) for record in feedback] == [(sent["message_id"], "Success")]


@case
def methods_are_called_and_answered():
    client = client_of(hub.connection_string("methods"))

    def on_method(request):
        status, payload = (200, {"got": request.payload}) if request.name == "echo" else (404, {"unknown": request.name})
        client.send_method_response(MethodResponse.create_from_method_request(request, status, payload))

    client.on_method_request_received = on_method
    client.connect()
    until("it listens", lambda: hub.try_ask("device", "call", "methods", "echo", "1"))
    answer = hub.json("device", "call", "methods", "echo", '{"delay": 5}')
    assert answer == {"status": 200, "payload": {"got": {"delay": 5}}}, answer
    assert hub.json("device", "call", "methods", "nonsense")["status"] == 404
    client.shutdown()
    refused = subprocess.run([PROGRAM, "--config", ROOM, "device", "call", "methods", "echo"], capture_output=True, text=True)
    assert refused.returncode == 1 and "404103" in refused.stderr, refused


@case
def twins_are_read_reported_and_followed():
    client = client_of(hub.connection_string("twins"))
    patches = []
    client.on_twin_desired_properties_patch_received = lambda patch: patches.append(patch)
    client.connect()
    twin = client.get_twin()
    assert twin == {"desired": {"$version": 1}, "reported": {"$version": 1}}, twin
    client.patch_twin_reported_properties({"fw": "1.0", "net": {"rssi": -60}})
    client.patch_twin_reported_properties({"net": {"rssi": -61, "ip": "192.0.2.1"}, "fw": None})
    twin = client.get_twin()
    assert twin["reported"] == {"net": {"rssi": -61, "ip": "192.0.2.1"}, "$version": 3}, twin
    hub.ask("device", "twin", "twins", "--desired", '{"interval": 30}', "--tags", '{"hall": 3}')
    until("the change is there", lambda: patches)
    assert patches == [{"interval": 30, "$version": 2}], patches
    assert "tags" not in client.get_twin()
    client.shutdown()


@case
def a_module_is_an_identity_of_its_own():
    hub.connection_string("edge-7")
    client = client_of(hub.connection_string("edge-7/filter"), IoTHubModuleClient)
    client.connect()
    client.send_message("from the module")
    client.patch_twin_reported_properties({"module": True})
    assert client.get_twin()["reported"]["module"] is True
    client.shutdown()
    assert any(leaf == "edge-7" and " filter " in p["$.origin"] for leaf, p, _ in hub.messages())


@case
def certificates_open_by_thumbprint_and_by_authority():
    print_of = subprocess.run(["openssl", "x509", "-in", f"{ROOM}/print.pem", "-noout", "-fingerprint", "-sha256"], capture_output=True, text=True)
    thumbprint = print_of.stdout.strip().split("=")[1]
    hub.ask("device", "add", "by-print", "--thumbprint", thumbprint)
    sha1 = subprocess.run(["openssl", "x509", "-in", f"{ROOM}/signed.pem", "-noout", "-fingerprint", "-sha1"], capture_output=True, text=True)
    hub.ask("device", "add", "by-sha1", "--thumbprint", sha1.stdout.strip().split("=")[1])
    hub.ask("device", "add", "by-ca", "--authority")
    for device, files in [("by-print", "print"), ("by-ca", "signed"), ("by-sha1", "signed")]:
        x509 = X509(f"{ROOM}/{files}.pem", f"{ROOM}/{files}.key")
        client = IoTHubDeviceClient.create_from_x509_certificate(x509, "localhost", device, server_verification_cert=hub.authority())
        client.connect()
        client.send_message("signed")
        client.shutdown()
        assert any(leaf == device and p["$.origin"].startswith("x509 ") for leaf, p, _ in hub.messages()), device
    # The other's certificate opens nothing.
    x509 = X509(f"{ROOM}/print.pem", f"{ROOM}/print.key")
    client = IoTHubDeviceClient.create_from_x509_certificate(x509, "localhost", "by-ca", server_verification_cert=hub.authority())
    refused(client)


def refused(client):
    try:
        client.connect()
    except Exception as error:  # the SDK wraps CONNACK 5 in several types
        client.shutdown()
        return error
    raise AssertionError("it was let in")


@case
def a_wrong_key_and_a_disabled_device_stay_outside():
    right = hub.connection_string("guarded")
    other = hub.connection_string("other")
    key = other.split("SharedAccessKey=")[1]
    refused(client_of(right.split("SharedAccessKey=")[0] + "SharedAccessKey=" + key))
    client = client_of(right, connection_retry=False)
    client.connect()
    hub.ask("device", "disable", "guarded", "--reason", "stolen")
    until("it is put out", lambda: not client.connected)
    refused(client)
    kinds = [event["kind"] for event in hub.json("device", "events") if event["device"] == "guarded"]
    assert kinds.count("connectionRefused") == 2 and "deviceDisconnected" in kinds, kinds


@case
def tokens_are_renewed_and_messages_go_on():
    # The SDK renews 120 s before the end, so this one comes back every three seconds.
    client = client_of(hub.connection_string("renewing"), sastoken_ttl=123)
    client.connect()
    for n in range(20):
        client.send_message(str(n))
        time.sleep(0.4)
    client.shutdown()
    bodies = [body for leaf, _, body in hub.messages() if leaf == "renewing"]
    assert [int(body) for body in sorted(set(bodies), key=int)] == list(range(20))
    connects = [event for event in hub.json("device", "events") if event["device"] == "renewing" and event["kind"] == "deviceConnected"]
    assert len(connects) >= 3, len(connects)


@case
def a_device_of_a_group_registers_itself_and_then_sends():
    trust = {"server_verification_cert": hub.authority()}
    for _ in range(2):  # the second time it is there already
        ask = ProvisioningDeviceClient.create_from_symmetric_key("localhost", REGISTRATION, "0neJudge", DERIVED_KEY, **trust)
        result = ask.register()
        assert result.status == "assigned", result
        state = result.registration_state
        assert (state.assigned_hub, state.device_id) == ("localhost", REGISTRATION), state
    client = IoTHubDeviceClient.create_from_symmetric_key(DERIVED_KEY, state.assigned_hub, state.device_id, **trust)
    client.connect()
    client.send_message("registered")
    client.shutdown()
    assert any(leaf == REGISTRATION for leaf, _, _ in hub.messages())
    other = ProvisioningDeviceClient.create_from_symmetric_key("localhost", "sn-008", "0neJudge", DERIVED_KEY, **trust)
    try:
        other.register()
        raise AssertionError("somebody else's key registered a device")
    except AssertionError:
        raise
    except Exception:  # the SDK has a tree of them
        pass
    assert "sn-008" not in hub.ask("device", "list")


@case
def a_device_registers_itself_by_a_certificate_of_our_authority():
    trust = {"server_verification_cert": hub.authority()}
    shown = X509(cert_file=f"{ROOM}/itself.pem", key_file=f"{ROOM}/itself.key")
    result = ProvisioningDeviceClient.create_from_x509_certificate("localhost", "by-itself", "0neJudge", shown, **trust).register()
    assert result.status == "assigned", result
    client = IoTHubDeviceClient.create_from_x509_certificate(shown, "localhost", "by-itself", **trust)
    client.connect()
    client.send_message("registered")
    client.shutdown()
    assert any(leaf == "by-itself" for leaf, _, _ in hub.messages())


@case
def nothing_acknowledged_is_lost_when_the_hub_is_killed():
    client = client_of(hub.connection_string("steadfast"))
    got = []
    client.on_message_received = lambda message: got.append(message.data)
    client.connect()
    acknowledged, stop = [], threading.Event()

    def send():
        n = 0
        while not stop.is_set():
            try:
                client.send_message(str(n))
                acknowledged.append(n)
                n += 1
            except Exception:  # while the hub is away
                time.sleep(0.1)

    sender = threading.Thread(target=send)
    sender.start()
    for _ in range(2):
        before = len(acknowledged)
        until("messages flow", lambda: len(acknowledged) > before + 20)
        hub.kill()
        hub.start()
    hub.ask("send", "steadfast", "still there?")
    before = len(acknowledged)
    until("messages flow again", lambda: len(acknowledged) > before + 20)
    until("C2D flows again", lambda: got == [b"still there?"])
    stop.set()
    sender.join()
    client.shutdown()
    kept = {int(body) for leaf, _, body in hub.messages() if leaf == "steadfast"}
    assert set(acknowledged) <= kept, sorted(set(acknowledged) - kept)


def main():
    hub.start()
    failed = 0
    for judged in CASES:
        begun = time.monotonic()
        try:
            judged()
            verdict = "ok"
        except Exception as error:  # every case is told of
            failed += 1
            verdict = f"FAILED: {type(error).__name__}: {error}"
        print(f"{judged.__name__} ... {verdict} ({time.monotonic() - begun:.1f} s)", flush=True)
    events = hub.json("device", "events")
    hub.stop()
    if failed:
        print(json.dumps(events, indent=1)[-6000:])
        print((Path(ROOM) / "hub.log").read_text()[-4000:])
    sys.exit(1 if failed else 0)


main()
