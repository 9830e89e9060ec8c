"""Generated deployments, as large as a state: many municipalities, many services, folders only."""

from pathlib import Path

HEAD = """version: 1
include:
  - {path: municipalities/*.yaml, only: "{name}"}
senders:
  portal: {}
inbound:
  eingang: {adapter: folder, path: eingang, sender: portal}
"""


def write(folder: Path, municipalities: int, services: int) -> Path:
    """Write a deployment in which every municipality has every service; return its routes.yaml."""
    (folder / "municipalities").mkdir(parents=True)
    lines = [HEAD, "procedures:\n"]
    lines += [f'  produkt{s}: {{adapter: folder, path: "out/{{municipality}}/{s}"}}\n' for s in range(services)]
    lines.append("routes:\n")
    for s in range(services):
        lines.append(f"  dienst{s}:\n")
        lines.append(f'    match: {{type: antrag/1.0/*, author: "psw:{s:04d}*"}}\n')
        lines.append(f'    deliver_to: ["{{municipality}}/dienst{s}"]\n')
    (folder / "routes.yaml").write_text("".join(lines))
    for number in range(municipalities):
        add(folder, number, services)
    return folder / "routes.yaml"


def add(folder: Path, number: int, services: int) -> Path:
    """Write the file of one municipality and return its path."""
    key = f"ort{number:05d}"
    lines = [
        "municipalities:\n",
        f"  {key}:\n",
        f"    name: Ort {number}\n",
        f"    ags: {number:08d}\n",
        f'    values: {{mandant: "{number}"}}\n',
        "    procedures:\n",
        *(f"      dienst{s}: {{like: produkt{s}}}\n" for s in range(services)),
    ]
    path = folder / "municipalities" / f"{key}.yaml"
    path.write_text("".join(lines))
    return path
