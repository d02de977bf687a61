"""Drives every case of cases.json through the PyPI client `servicestack`: check.py ADDRESS VARIABLES KEYS"""
import json
import logging
import sys
from dataclasses import dataclass, make_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Optional

from dataclasses_json import LetterCase, Undefined, dataclass_json
from servicestack import IReturn, JsonServiceClient, WebServiceException

logging.disable(logging.CRITICAL)
address = sys.argv[1]
variables, keys = (json.loads(Path(name).read_text()) for name in sys.argv[2:4])
checked, failed = 0, []


def filled(value):
    if isinstance(value, str):
        if value[1:] in variables and value.startswith("$"):
            return variables[value[1:]]
        for name, text in variables.items():
            value = value.replace(f"${name}", str(text))
        return value
    if isinstance(value, dict):
        return {name: filled(inner) for name, inner in value.items()}
    return [filled(inner) for inner in value] if isinstance(value, list) else value


def check(what, is_right, told):
    global checked
    checked += 1
    if not is_right:
        failed.append(f"{what}: {told}")


def client(key):
    made = JsonServiceClient(f"http://{address}")
    if key != "None":
        made.set_bearer_token(keys[key])
    return made


def request(op, args, gives=str):
    return make_dataclass(op, [(name, Any) for name in args], bases=(IReturn[gives],))(**args)


def forms(case):
    op, args, key = case["op"], case["args"], case.get("key", "SuperUser")

    def by_old_name():
        old = client(key)
        old.set_base_path("")
        return old.get(request(op, args))

    yield "/api/{Op}", lambda: client(key).get(request(op, args))
    yield "/json/reply/{Op}", by_old_name
    yield "path", lambda: client(key).get_url(f"/api/{case['path']}", response_as=str, args=args)


for case in filled(json.loads((Path(__file__).parent / "cases.json").read_text())):
    for form, ask in forms(case):
        what = f"python {form} {case['op']} {case['args']}"
        try:
            answer, error = json.loads(ask()), None
        except WebServiceException as told:
            answer, error = None, told
        if "error" in case:
            status, code, message = case["error"]
            check(what, error is not None and error.status_code == status, f"expected {status}, got {answer or error.status_code}")
            of = error and error.response_status
            check(what, of and of.error_code == code and message in of.message, f"expected {code} {message}, got {of}")
            if "field" in case:
                check(what, of and of.errors and of.errors[0].field_name == case["field"], f"expected {case['field']}, got {of}")
            continue
        if answer is None:
            check(what, False, f"{error.status_code} {error.response_status}")
            continue
        wrong = {name: answer.get(name) for name, value in case["equal"].items() if answer.get(name) != value}
        check(what, not wrong, f"expected {case['equal']}, got {wrong}")
        missing = [name for name in case.get("present", []) if name not in answer]
        check(what, not missing, f"without {missing}")
        if "length" in case:
            check(what, len(answer["results"]) == case["length"], f"expected {case['length']}, got {len(answer['results'])}")


@dataclass_json(letter_case=LetterCase.CAMEL, undefined=Undefined.EXCLUDE)
@dataclass
class ServiceUsageResponse:
    service_guid: Optional[str] = None
    period: Optional[datetime] = None
    total_message_count: int = -1
    created_on: Optional[datetime] = None


usage = client("SuperUser").get(request("GetServiceUsage", {"ServiceGuid": variables["SERVICE"]}, ServiceUsageResponse))
check("typed", usage.service_guid == variables["SERVICE"] and usage.total_message_count >= 0, usage)
check("typed dates", usage.period.year == 2026 and isinstance(usage.created_on, datetime), usage)
day = datetime(2026, 3, 15)
usage = client("SuperUser").get(request("GetServiceUsage", {"ServiceGuid": variables["SERVICE"], "Period": day}, ServiceUsageResponse))
check("a date of Python's", (usage.period.month, usage.period.day) == (3, 15), usage)
basic = JsonServiceClient(f"http://{address}")
basic.set_credentials("anybody", keys["SuperUser"])
check("basic", json.loads(basic.get(request("Ping", {})))["version"], "no version")
for suffix, begins in [(".xml", "<?xml"), (".csv", "ServiceGuid,"), (".jsv", "{")]:
    text = client("SuperUser").get_url(f"/api/services/{variables['SERVICE']}/serviceusage{suffix}", response_as=str)
    check(suffix, text.startswith(begins), text[:80])

for line in failed:
    print(f"FAILED {line}", file=sys.stderr)
print(f"python: {checked - len(failed)} of {checked} checks passed")
sys.exit(1 if failed or checked < 60 else 0)
