"""Print an interpreter with Netlab and Ansible that every user can run, if need be one made in the folder that is named."""

import os
import shutil
import sys

import netsim

SCRIPTS = {"netlab": "netsim.cli:main"} | {
    name: f"ansible.cli.{name.partition('-')[2] or 'adhoc'}:main" for name in ("ansible", "ansible-playbook", "ansible-inventory")
}


def public(path):
    """Whether every user can read the file and come to it."""
    path = os.path.realpath(path)
    while path != "/":
        if not os.stat(path).st_mode & (0o001 if os.path.isdir(path) else 0o004):
            return False
        path = os.path.dirname(path)
    return True


def system(version):
    """A Python of that version that belongs to no home."""
    for base in (os.path.realpath(sys.executable), "/usr/bin/" + version, "/usr/local/bin/" + version):
        if os.path.exists(base) and public(base) and (base.startswith("/usr/") or public(os.__file__)):
            return base
    sys.exit(f"no {version} that every user can run; install it for the system")


def main(target):
    if public(sys.executable) and public(os.__file__) and public(netsim.__file__):
        return sys.executable
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base = system(version)
    os.makedirs(f"{target}/bin")
    os.makedirs(f"{target}/lib/{version}")
    for name in ("python", "python3"):
        os.symlink(base, f"{target}/bin/{name}")
    with open(f"{target}/pyvenv.cfg", "w") as file:
        file.write(f"home = {os.path.dirname(base)}\ninclude-system-site-packages = false\n")
    packages, site = os.path.dirname(os.path.dirname(netsim.__file__)), f"{target}/lib/{version}/site-packages"
    if public(netsim.__file__):
        os.symlink(packages, site)
    else:
        shutil.copytree(packages, site, ignore=shutil.ignore_patterns("ansible_collections", "pip*", "setuptools*"))
    for name, entry in SCRIPTS.items():
        module, _, function = entry.partition(":")
        script = f"{target}/bin/{name}"
        with open(script, "w") as file:
            file.write(f"#!{target}/bin/python\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n")
        os.chmod(script, 0o755)
    return f"{target}/bin/python"


print(main(sys.argv[1]))
