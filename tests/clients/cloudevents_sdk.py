"""Sends each line of standard input with the SDK, binary and structured in turn, and batches of its JSON."""

import json
import os
import sys
import urllib.request

from cloudevents.conversion import to_binary, to_json, to_structured
from cloudevents.http import CloudEvent

answered = {"binary": 0, "structured": 0, "batch": 0}


def post(headers, body):
    ask = urllib.request.Request(os.environ["URL"], data=body, method="POST")
    for name, value in {**headers, "Authorization": f"Bearer {os.environ['KEY']}"}.items():
        ask.add_header(name, value)
    with urllib.request.urlopen(ask) as answer:
        assert answer.status == 202, answer.read()


for number, line in enumerate(line for line in sys.stdin if line.strip()):
    attributes = json.loads(line)
    data = attributes.pop("data")
    event = CloudEvent(attributes, data)
    if number % 3 == 0:
        post(*to_binary(event))
        answered["binary"] += 1
    elif number % 3 == 1:
        post(*to_structured(event))
        answered["structured"] += 1
    else:
        post({"content-type": "application/cloudevents-batch+json"}, b"[" + to_json(event) + b"]")
        answered["batch"] += 1
print(f"PyPI cloudevents: {json.dumps(answered)}")
