"""A program of the site that reads the built-in endpoint, with nothing but Python's own HTTP.

    consumer.py claim URL CODE               claims the gateway and prints an API token
    consumer.py read URL TOKEN GROUP NAME    reads as NAME of GROUP, page by page, from the earliest message on

Prints one JSON line for each message: {"device": ..., "n": ..., "number": ..., "partition": ...}, and only then says that it has dealt with
the page. {"missed": ...} for what it could not have. Goes on through everything that can happen to the gateway; ends when it is killed.
"""

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

what, url = sys.argv[1:3]


def ask(method, path, body=None, headers=None, wait=70):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/api/v1{path}", data, {"Content-Type": "application/json", **(headers or {})}, method=method)
    with urllib.request.urlopen(request, timeout=wait) as answer:
        return answer, json.loads(answer.read() or b"null")


if what == "claim":
    origin = {"Origin": url}
    answer, _ = ask("POST", "/claim", {"code": sys.argv[3], "name": "ada", "password": "correct horse battery"}, origin)
    cookie = {"Cookie": answer.headers["Set-Cookie"].split(";")[0], **origin}
    _, token = ask("POST", "/tokens", {"name": "consumer", "role": "operator"}, cookie)
    print(token["token"])
    sys.exit()

token, group, name = sys.argv[3:6]
after = None
while True:
    query = {"group": group, "consumer": name, "from": "earliest", "wait_s": 5, "limit": 20, **({"after": after} if after else {})}
    try:
        _, page = ask("GET", "/messages?" + urllib.parse.urlencode(query), headers={"Authorization": f"Bearer {token}"})
    except (OSError, urllib.error.HTTPError):
        # It is away, or does not know yet that the reader before us is gone.
        time.sleep(0.1)
        continue
    for message in page["items"]:
        annotations = message["annotations"]
        line = {"device": annotations["iothub-connection-device-id"], "n": message["payload"].get("n")}
        print(json.dumps({**line, "number": annotations["x-opt-sequence-number"], "partition": message["partition"]}), flush=True)
    if page["missed"]:
        print(json.dumps({"missed": page["missed"]}), flush=True)
    after = page["next"]
