#!/usr/bin/env python3
"""Writes the bill of materials of a program of this workspace: CycloneDX 1.6, JSON.

What the program is made of comes from `cargo metadata` and Cargo.lock, so that the same commit gives the same bytes: there is
no time and no serial number in it. Crates that only build scripts need have the scope `excluded`.
"""

import argparse
import json
import os
import subprocess
import tomllib

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = "x86_64-unknown-linux-gnu"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--target", default=TARGET, help=f"the platform the program is for; {TARGET} unless given")
    parser.add_argument("program", help="a package of the workspace, such as sorcha-node")
    parser.add_argument("file", help="the file to write")
    return parser.parse_args()


def metadata(target):
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def checksums():
    """SHA-256 of each crate as it was downloaded."""
    with open(os.path.join(ROOT, "Cargo.lock"), "rb") as file:
        packages = tomllib.load(file)["package"]
    return {(p["name"], p["version"]): p["checksum"] for p in packages if "checksum" in p}


def needed(node, kinds):
    """Packages that one needs by dependencies of these kinds."""
    return {d["pkg"] for d in node["deps"] if any(kind["kind"] in kinds for kind in d["dep_kinds"])}


def reach(nodes, roots, kinds):
    """Packages that are reached from others by dependencies of these kinds."""
    seen, waiting = set(), list(roots)
    while waiting:
        at = waiting.pop()
        if at not in seen:
            seen.add(at)
            waiting += needed(nodes[at], kinds)
    return seen


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, hashes, kind="library"):
    described = {"type": kind, "bom-ref": purl(package), "name": package["name"], "version": package["version"]}
    if package.get("license"):
        # Cargo still takes the slash that SPDX has no more.
        described["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    described["purl"] = purl(package)
    checksum = hashes.get((package["name"], package["version"]))
    if checksum:
        described["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package.get("repository"):
        described["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return described


def bill(program, target):
    everything, hashes = metadata(target), checksums()
    packages = {package["id"]: package for package in everything["packages"]}
    nodes = {node["id"]: node for node in everything["resolve"]["nodes"]}
    roots = [id for id in everything["workspace_members"] if packages[id]["name"] == program]
    if not roots:
        raise SystemExit(f"sbom.py: error: the workspace has no package {program}")
    (root,) = roots
    linked = reach(nodes, [root], {None})
    built_with = reach(nodes, [root], {None, "build"})
    order = sorted(built_with - {root}, key=lambda id: purl(packages[id]))
    components = []
    for id in order:
        described = component(packages[id], hashes)
        described["scope"] = "required" if id in linked else "excluded"
        components.append(described)
    dependencies = [
        {"ref": purl(packages[id]), "dependsOn": sorted(purl(packages[d]) for d in needed(nodes[id], {None, "build"}))}
        for id in [root, *order]
    ]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component(packages[root], hashes, "application")},
        "components": components,
        "dependencies": dependencies,
    }


def main():
    options = arguments()
    with open(options.file, "w", encoding="utf-8") as file:
        json.dump(bill(options.program, options.target), file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
