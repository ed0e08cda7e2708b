"""How docker shows things: fields, JSON, Go templates of the simple kind ({{.Name}}, {{json .State}})."""

import datetime
import json
import re

from .table import full_id, status

FIELD = re.compile(r"\{\{\s*(json\s+)?\.([A-Za-z0-9_.]*)\s*\}\}")
LABEL = re.compile(r'\{\{\s*\.Label\s*"([^"]*)"\s*\}\}')


def render(template, data):
    """Fill a template; a field that is not there is "<no value>"."""

    def field(match):
        value = data
        for key in filter(None, match.group(2).split(".")):
            value = value.get(key, "<no value>") if isinstance(value, dict) else "<no value>"
        return json.dumps(value) if match.group(1) or isinstance(value, (dict, list)) else str(value)

    template = LABEL.sub(lambda match: data.get(".Labels", {}).get(match.group(1), ""), template.replace("\\t", "\t"))
    return FIELD.sub(field, template)


def listing(call, template, rows, heading, fields):
    """A list of rows: JSON objects, a template, or a table."""
    if template == "json":
        rows = [{name: value for name, value in row.items() if not name.startswith(".")} for row in rows]
        call.out("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return
    if template and not template.startswith("table"):
        call.out("".join(render(template, row) + "\n" for row in rows))
        return
    lines = [heading] + [[str(row[field]) for field in fields] for row in rows]
    width = [max(len(line[i]) for line in lines) for i in range(len(heading))]
    call.out("".join("   ".join(f"{line[i]:<{width[i]}}" for i in range(len(line))).rstrip() + "\n" for line in lines))


def objects(call, template, found):
    """What inspect prints: one JSON array, or a template for each."""
    if template and template != "json":
        call.out("".join(render(template, item) + "\n" for item in found))
    else:
        call.out(json.dumps(found, indent=4, ensure_ascii=False) + "\n")


def fits(container, wanted):
    """Whether a container passes a filter of docker ps."""
    kind, _, value = wanted.partition("=")
    if kind == "label":
        name, equals, text = value.partition("=")
        has = labels(container)
        return has.get(name) == text if equals else name in has
    if kind == "name":
        return re.search(value, container["name"]) is not None
    if kind == "status":
        return container["state"] == value
    return kind != "network" or container["network"] == value


def labels(container):
    """The labels that containerlab sets."""
    if not container["lab"]:
        return {}
    return {
        "containerlab": container["lab"],
        "clab-node-name": container["node"],
        "clab-node-longname": container["name"],
        "clab-node-kind": container["kind"],
        "clab-owner": container["owner"],
        "clab-topo-file": container["topology"],
    }


def moment(seconds):
    """A time as Docker writes it in JSON."""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat().replace("+00:00", "Z")


def process(container):
    """A row of docker ps."""
    return {
        "ID": full_id(container["name"])[:12],
        "Names": container["name"],
        "Image": container["image"],
        "State": container["state"],
        "Status": status(container),
        "CreatedAt": moment(container["created"]),
        ".Labels": labels(container),  # for the function Label of a template
        "Labels": ",".join(f"{name}={value}" for name, value in sorted(labels(container).items())),
        "Networks": container["network"],
        "Ports": "",
    }


def image(name):
    """A row of docker image ls."""
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = name, "latest"
    return {"Repository": repository, "Tag": tag, "ID": full_id(name)[:12], "Size": "100MB"}


def details(container):
    """An object of docker inspect."""
    running = container["state"] == "running"
    return {
        "Id": full_id(container["name"]),
        "Name": "/" + container["name"],
        "Created": moment(container["created"]),
        "State": {"Status": container["state"], "Running": running, "ExitCode": 0},
        "Config": {"Image": container["image"], "User": "", "Labels": labels(container)},
        "NetworkSettings": {"Networks": {container["network"]: {"IPAddress": container["address"] if running else ""}}},
    }


def network(host, name):
    """An object of docker network inspect."""
    data = host["networks"][name]
    members = {
        full_id(c["name"]): {"Name": c["name"], "IPv4Address": c["address"]}
        for c in host["containers"].values() if c["network"] == name and c["state"] == "running"
    }
    return {
        "Name": name,
        "Id": full_id(name),
        "Created": moment(data["created"]),
        "Driver": "bridge",
        "IPAM": {"Config": [{"Subnet": data["subnet"]}]},
        "Options": {"com.docker.network.bridge.name": data["bridge"]},
        "Labels": {"containerlab": ""},
        "Containers": members,
    }
