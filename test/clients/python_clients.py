"""Clients in Python of `netlab api`: one of the standard library, which sends no Accept header, and one of requests, which sends */*.

Arguments: URL, user, password, working directory. Each has a lab generated, looks until that has ended, and prints what it saw.
"""

import base64
import json
import sys
import time
import urllib.error
import urllib.request

import requests

url, user, password, workdir = sys.argv[1:]


class Urllib:
    """The standard library's."""

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url + path, data=data, method=method)
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=15) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as ex:
            return ex.code, json.loads(ex.read())


class Requests:
    """With a connection that is used again and again."""

    def __init__(self):
        self.session = requests.Session()
        self.session.auth = (user, password)

    def call(self, method, path, body=None):
        response = self.session.request(method, url + path, json=body, timeout=15)
        return response.status_code, response.json()


for client in (Urllib(), Requests()):
    name = type(client).__name__.lower()
    status, job = client.call("POST", "/jobs", {"action": "create", "workdir": workdir, "topologyPath": "topology.yml"})
    print(name, "POST", status, sorted({"id", "state", "createdAt", "logPath"} - job.keys()))
    printed = ""
    while True:
        status, job = client.call("GET", "/jobs/" + job["id"])
        assert status == 200, (status, job)
        status, answer = client.call("GET", f"/jobs/{job['id']}/log")
        assert status == 200, (status, answer)
        assert answer["log"].startswith(printed), (printed, answer)
        printed = answer["log"]
        if job["state"] in ("success", "failed", "canceled"):
            break
        time.sleep(0.1)
    print(name, job["state"], job["error"], "Created provider configuration" in printed or printed)
    for method, path in (("GET", "/jobs/none"), ("GET", "/nothing"), ("GET", "/status"), ("GET", "/healthz")):
        print(name, method, path, *client.call(method, path))
