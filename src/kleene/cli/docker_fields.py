"""Fields that users of Docker name in templates, made of what the daemon tells. Pure."""

from __future__ import annotations

from typing import Any

from kleene.cli.output import Object, state_of


def of_inspected(found: Object) -> Object:
    """What is known of an object, and beside it the fields of the object itself and those of Docker."""
    if isinstance(found.get("container"), dict):
        return {**_of_container(found), **found["container"], **found}
    if isinstance(found.get("network"), dict):
        return {**_of_network(found), **found["network"], **found}
    if isinstance(found.get("volume"), dict):
        return {**found["volume"], **found}
    if "instructions" in found:
        return {**_of_image(found), **found}
    return found


def _of_container(found: Object) -> Object:
    container, endpoints = found["container"], found.get("container_endpoints", [])
    names = ("running", "exit_code", "health", "restarting")
    addresses = (each["ip_address"] for each in endpoints)
    return {
        "State": {name: container.get(name) for name in names}
        | {"started_at": container.get("started"), "finished_at": container.get("finished")}
        | {"status": state_of(container)},
        "Image": container.get("image_id"),
        "Mounts": found.get("container_mountpoints", []),
        "NetworkSettings": {
            "IPAddress": next(filter(None, addresses), ""),
            "Networks": {each["network_id"]: each for each in endpoints},
        },
        "Config": container
        | {"Image": container.get("image_id"), "WorkingDir": container.get("workdir")},
        "HostConfig": container
        | {
            "RestartPolicy": {
                "Name": container.get("restart_policy"),
                "MaximumRetryCount": container.get("restart_retries"),
            },
            "NetworkMode": container.get("network_driver"),
        },
    }


def _of_network(found: Object) -> Object:
    network = found["network"]
    pairs = (("subnet", "gateway"), ("subnet6", "gateway6"))
    subnets = [
        {"Subnet": network[s], "Gateway": network.get(g, "")} for s, g in pairs if network.get(s)
    ]
    return {
        "IPAM": {"Config": subnets},
        "Containers": {
            each["container_id"]: each | {"IPv4Address": each["ip_address"]}
            for each in found.get("network_endpoints", [])
        },
    }


def _of_image(image: Object) -> Object:
    tags = [f"{image['name']}:{image['tag']}"] if image.get("name") else []
    return {"RepoTags": tags, "Config": image | {"WorkingDir": image.get("workdir")}}


def of_event(event: Object) -> dict[str, Any]:
    """An event, and beside its fields those of Docker."""
    attributes = event["attributes"]
    return {
        "Type": event["kind"],
        "Status": event["action"],
        "From": attributes.get("image", ""),
        "Actor": {"ID": event["id"], "Attributes": {"name": event["name"], **attributes}},
        **event,
    }
