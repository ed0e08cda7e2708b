"""What schemathesis has to know of the service that it tests: what is there.

A JSON Schema cannot say what lies below a host's roots, what YAML is, or which variables are refused. So in requests that are
meant to be valid these fields get values that this host takes. Requests that are meant to be invalid stay as they are.
"""

import itertools
import json
import os

import schemathesis

ROOT = os.environ["SCHEMATHESIS_ROOT"]  # below which working directories may lie
HOST = os.environ["SCHEMATHESIS_HOST"]

# Where the document's examples have their labs, and on which host.
EXAMPLE_ROOT = "/home/alice/netlab"
EXAMPLE_HOST = "lab1"

# How an archive begins: what does not begin so is refused.
GZIP = b"\x1f\x8b"

# A run of Netlab takes seconds, and each of a working directory waits for the one before. So only the first jobs are run as
# they come; the others are to make a lab without a topology, which end before Netlab starts.
RUNS = 10
jobs = itertools.count()

FITTING = {
    "workdir": f"{ROOT}/fuzzed",
    "stateRoot": f"{ROOT}/state",
    "host": HOST,
    "topologyPath": "absent.yml",
    "topology": "provider: external\nnodes: [ a ]\n",
    "collectOutput": "configs",
    "collectTar": "configs.tar.gz",
    "environment": {"A_SECRET": "of the test"},
}
# What only some hosts take, or only in the right company.
ELSEWHERE = ("workspaceRoot", "topologyUrl", "labels", "project")


# Questions about a lab: of one that is there, and after the first ones of none, since each takes Netlab a second.
QUESTIONS = {"/connect": f"{ROOT}/external", "/graph": f"{ROOT}/made"}
questions = itertools.count()


def fitting_question(path, body):
    body = {name: value for name, value in body.items() if name in ("node", "type", "topologyPath")}
    if "topologyPath" in body:
        body["topologyPath"] = "topology.yml"
    if "node" in body:
        body |= {"show": ["ip", "route"], "node": "r1"}
    return body | {"workdir": QUESTIONS[path] if next(questions) < RUNS else f"{ROOT}/absent"}


def fitting(body):
    body = {name: FITTING.get(name, value) for name, value in body.items() if name not in ELSEWHERE}
    body["workdir"] = FITTING["workdir"]
    if next(jobs) >= RUNS:
        body["action"] = "create"
        body.pop("topology", None)
    return body


@schemathesis.hook
def before_load_schema(ctx, raw_schema):
    """Put the examples' labs where this host has its own."""
    text = json.dumps(raw_schema).replace(EXAMPLE_ROOT, ROOT).replace(f'"{EXAMPLE_HOST}"', f'"{HOST}"')
    raw_schema.clear()
    raw_schema.update(json.loads(text))


@schemathesis.hook
def map_case(ctx, case):
    """Make what is meant to be a valid request for a job one that this host takes."""
    positive = case.meta is not None and case.meta.generation.mode.is_positive
    if positive and case.operation.path == "/jobs" and case.method.upper() == "POST" and isinstance(case.body, dict):
        if isinstance(case.body.get("job"), dict):
            # A bundle is for an action that starts something of it, and is the topology.
            case.body["job"] = fitting(case.body["job"]) | {"action": "create"}
            case.body["job"].pop("topology", None)
            bundle = case.body.get("bundle")
            case.body["bundle"] = GZIP + (bundle if isinstance(bundle, bytes) else b"no archive")
        else:
            case.body = fitting(case.body)
    if positive and case.operation.path in QUESTIONS and case.method.upper() == "POST" and isinstance(case.body, dict):
        case.body = fitting_question(case.operation.path, case.body)
    return case

