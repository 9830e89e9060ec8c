"""What each command's ``--help`` and the reference show as examples: lines that could be typed as they are."""

from __future__ import annotations

import click

ID = "01a20104-3a88-770c-80d3-230e6fb12b06"

EXAMPLES: dict[str, tuple[str, ...]] = {
    "adapters list": ("xoev-hub adapters list",),
    "adapters new": ("xoev-hub adapters new postfach --into plugins",),
    "audit list": ("xoev-hub audit list --since 7d --actor mueller",),
    "backup": ("xoev-hub backup /var/backups/hub/2026-11-22",),
    "check": ("xoev-hub check", "xoev-hub check --as-of 2027-05-01 --matrix"),
    "close": (f'xoev-hub close {ID} --as delivered-otherwise --reason "per Mail angekommen"',),
    "config schema": ("xoev-hub config schema > routes.schema.json",),
    "config show": ("xoev-hub config show wolfsburg/gewerbe --origin",),
    "demo": ("xoev-hub demo --json demo.json",),
    "destinations list": ("xoev-hub destinations list --state blocked --state failing",),
    "destinations probe": ("xoev-hub destinations probe wolfsburg/gewerbe",),
    "destinations show": ("xoev-hub destinations show wolfsburg/gewerbe",),
    "doctor": ("xoev-hub doctor || mail -s 'hub needs a person' betrieb@stadt.example",),
    "explain": ("xoev-hub explain antrag.xml --sender bauportal", f"xoev-hub explain --message {ID}"),
    "groups list": ("xoev-hub groups list --kind dead",),
    "groups note": ("xoev-hub groups note 4f2a9c0d1e7b Hersteller weiß es, Ticket 4711",),
    "init": ("xoev-hub init hub",),
    "jobs cancel": (f'xoev-hub jobs cancel {ID} --reason "falsche Auswahl"',),
    "jobs list": ("xoev-hub jobs list --state open",),
    "jobs pause": (f'xoev-hub jobs pause {ID} --reason "Fachverfahren ist langsam"',),
    "jobs resume": (f'xoev-hub jobs resume {ID} --reason "geht wieder"',),
    "jobs show": (f"xoev-hub jobs show {ID} --watch", f"xoev-hub jobs show {ID} --result failed"),
    "messages list": (
        "xoev-hub messages list --state attention --since 6h",
        "xoev-hub messages list --reference 32-2026/4711 --json",
    ),
    "messages show": (
        f"xoev-hub messages show {ID}",
        f'xoev-hub messages show {ID} --payload received --reason "Ticket 4711" > antrag.xml',
    ),
    "messages tail": ("xoev-hub messages tail --destination wolfsburg/gewerbe",),
    "pause": ("xoev-hub pause wolfsburg/gewerbe --reason Wartung --until 2h",),
    "release": ("xoev-hub release 2027-05-01",),
    "reload": ("xoev-hub check && xoev-hub test && xoev-hub reload",),
    "replan": ('xoev-hub replan --state waiting --route bauantrag --reason "neue Version"',),
    "replay": (
        'xoev-hub replay --state dead --route gewerbeanmeldung --dry-run --diff --reason "Stylesheet berichtigt"',
        'xoev-hub replay --fingerprint 4f2a9c0d1e7b --canary 1 --rate 5 --confirm 400 --reason "Stylesheet berichtigt"',
    ),
    "resend": ('xoev-hub resend --destination wolfsburg/gewerbe --state dead --reason "Verfahren läuft wieder"',),
    "restore": ("xoev-hub restore /var/backups/hub/2026-11-22",),
    "resume": ('xoev-hub resume wolfsburg/gewerbe --reason "Zertifikat erneuert"',),
    "routes gaps": ("xoev-hub routes gaps",),
    "routes list": ("xoev-hub routes list",),
    "routes show": ("xoev-hub routes show gewerbeanmeldung",),
    "routes unused": ("xoev-hub routes unused --days 30",),
    "run": ("xoev-hub -c /etc/xoev-hub/routes.yaml run",),
    "schemas check": ("xoev-hub schemas check", "xoev-hub schemas check xmeld/25.11a"),
    "schemas import": ("xoev-hub schemas import XMeld_25.11a.zip --dry-run",),
    "schemas list": ("xoev-hub schemas list",),
    "schemas remove": ("xoev-hub schemas remove xmeld/25.11a",),
    "schemas show": ("xoev-hub schemas show xmeld/25.11a",),
    "selftest": ("xoev-hub selftest --crash --kills 50 > bericht.txt",),
    "send": (
        "xoev-hub send antrag.xml --sender bauportal",
        "xoev-hub send - --sender bauportal --reference VG-4711 < antrag.xml",
    ),
    "simulate": ("xoev-hub simulate procedures.yaml",),
    "stats": ("xoev-hub stats --by municipality --days 7", "xoev-hub stats --month 2026-11 --csv > november.csv"),
    "store migrate": ("xoev-hub store migrate",),
    "test": ("xoev-hub test", "xoev-hub test --junit junit.xml"),
}


def exemplify(path: str, command: click.Command) -> click.Command:
    """Give a command, and those in it, their examples as the end of their help; return it."""
    if path in EXAMPLES:
        lines = "\n".join(f"  {line}" for line in EXAMPLES[path])
        command.epilog = f"\b\nExamples:\n{lines}"
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            exemplify(f"{path} {name}", child)
    return command
