#!/usr/bin/env python3
"""Check the examples for Kubernetes against the published schemas, and keep what they use of them.

    schemas.py examples/cluster CRD.yaml ...

The files are custom resource definitions as their projects publish them (schemas.json says which).
What an object of an example may have is kept whole, by name; what the examples leave out is not
looked into. schemas.json is written anew only if all examples are valid.
"""

import json
import sys
from pathlib import Path

import jsonschema
import yaml

SCHEMAS = Path(__file__).with_name("schemas.json")
KEPT = ("type", "required", "enum", "pattern", "minimum", "maxItems")


def documents(file):
    return [each for each in yaml.safe_load_all(file.read_text()) if each]


def kind(document):
    return f"{document['apiVersion']}, {document['kind']}"


def published(definition):
    """ApiVersion and kind -> schema, of a custom resource definition."""
    spec = definition["spec"]
    return {
        f"{spec['group']}/{version['name']}, {spec['names']['kind']}": version["schema"][
            "openAPIV3Schema"
        ]
        for version in spec["versions"]
    }


def strict(schema, example):
    """What of a schema an example uses; a field that it does not name is an error.

    A server drops such a field, or refuses it if it is asked to be strict.
    """
    found = {name: schema[name] for name in KEPT if name in schema}
    if "properties" in schema:
        found["additionalProperties"] = False
        found["properties"] = {
            name: strict(inner, example[name]) if name in example else True
            for name, inner in schema["properties"].items()
        }
        if "apiVersion" in example:  # the API's own, for any resource
            found["properties"]["metadata"] = {"required": ["name"]}
    elif isinstance(schema.get("additionalProperties"), dict) and isinstance(example, dict):
        inner = [strict(schema["additionalProperties"], each) for each in example.values()]
        found["additionalProperties"] = merged(inner)
    elif "items" in schema:
        found["items"] = merged([strict(schema["items"], each) for each in example])
    if schema.get("x-kubernetes-int-or-string"):
        found["type"] = ["integer", "string"]
    return found


def merged(schemas):
    """One schema of what several items use."""
    first, *others = schemas or [True]
    for other in others:
        if first is True or other is True:
            first = other if first is True else first
        else:
            for name, value in other.items():
                if name in ("items", "additionalProperties") and isinstance(value, dict):
                    first[name] = merged([first.get(name, True), value])
                elif name == "properties":
                    for key, inner in value.items():
                        first[name][key] = merged([first[name][key], inner])
    return first


def main():
    examples, *files = map(Path, sys.argv[1:])
    known = {}
    for file in files:
        known |= published(yaml.safe_load(file.read_text()))
    kept = {}
    for file in sorted(examples.glob("*.yaml")):
        for document in documents(file):
            schema = strict(known[kind(document)], document)
            jsonschema.validate(document, schema)
            kept[kind(document)] = schema
            print(f"{file.name}: a valid {kind(document)}")
    before = json.loads(SCHEMAS.read_text())
    lines = [f"  {json.dumps(name)}:\n  {json.dumps(each)}" for name, each in kept.items()]
    rest = json.dumps({"from": before["from"]}, indent=1).removesuffix("\n}")
    SCHEMAS.write_text(rest + ',\n "schemas": {\n' + ",\n".join(lines) + "\n }\n}\n")


if __name__ == "__main__":
    main()
