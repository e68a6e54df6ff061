"""``appliance bundle``: make and check the signed files that bring a prior, put one in service, and go back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from appliance.adapt.prior import Prior
from appliance.bundle.expected import ADAPTER
from appliance.bundle.keys import format_public_key, key_id
from appliance.bundle.manifest import TensorSpec
from appliance.bundle.packing import pack_files
from appliance.bundle.reading import Bundle
from appliance.bundle.shelf import Change, Entry, Listed, Place, Shelf
from appliance.bundle.signing import SigningKey
from appliance.commands.common import (
    DEFAULT_CONFIG,
    SOFTWARES_OWN,
    ConfigOption,
    JsonOption,
    console,
    errors,
    list_table,
    plain,
    write_json,
)
from appliance.config import load
from appliance.errors import BundleRefused

NAME_CELLS = 20
"""Widest column of names: two of them and what was trained on still fit on 80 columns."""

File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Bundle.", show_default=False)]


def _file(what: str) -> Any:
    return typer.Option(help=what, exists=True, dir_okay=False, show_default=False)


bundle = typer.Typer(help="Bring a prior that was learned elsewhere, in a signed file.", no_args_is_help=True)


@bundle.callback()
def group() -> None:
    """Bring a prior that was learned elsewhere, in a signed file: pack it here, install it on each appliance."""


@bundle.command()
def keygen(
    file: Annotated[Path, typer.Argument(help="New file for the private key, in PEM.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Make a key to sign bundles with; show its public half, which goes into the settings of every appliance.

    To show it again: openssl pkey -in FILE -pubout -outform DER | tail -c 32 | base64

    Example: appliance bundle keygen training-2026.pem
    """
    key = SigningKey.create()
    key.save(file)
    public = format_public_key(key.public)
    if as_json:
        write_json({"file": str(file), "key_id": key_id(key.public).hex(), "public_key": public})
        return
    name = file.stem if re.fullmatch(r"[A-Za-z0-9_-]+", file.stem) else json.dumps(file.stem)
    console.print(
        f"{plain(file)} holds the private key {key_id(key.public).hex()}: whoever has it can sign. Keep it secret."
    )
    console.print("Its public key, for the appliance.toml of every appliance that is to trust it:\n")
    # Whole lines and no markup: this is to be copied.
    console.out("[bundles.trusted_keys]", f'{name} = "{public}"', sep="\n", highlight=False)


@bundle.command()
def pack(
    out: Annotated[Path, typer.Argument(help="Bundle to write.", dir_okay=False, show_default=False)],
    about: Annotated[Path, _file("JSON about it: name, version, datasets, metrics.")],
    key: Annotated[Path, _file("Private key to sign with, in PEM.")],
    tensors: Annotated[
        Path | None, _file("Its tensors, in safetensors. Default: how far labels are trusted as it comes.")
    ] = None,
    adapter: Annotated[
        list[Path] | None, _file("What `meta-train` made with a --method that descends; one for each method.")
    ] = None,
    network: Annotated[Path | None, _file("Its network, in ONNX.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Pack a prior into a bundle and sign it. Exit 1: no appliance would accept it.

    The JSON may also have made_at, software (what made it: version) and training (the configuration, any table):
    {"name": "general", "version": 3, "datasets": [{"name": "smd", "licence": "MIT"}], "metrics": {"vus_pr": 0.5}}

    Example: appliance bundle pack general-3.bundle --about about.json --tensors prior.safetensors --key key.pem
    """
    with _refusals(as_json):
        _show(pack_files(out, about, tensors or Prior().tensors(), key, network, adapter or ()), as_json)


@bundle.command()
def verify(file: File, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Check a bundle as an appliance with these settings would, and show what is in it. Exit 1: it is refused.

    Only install holds its version against that in service.

    Example: appliance bundle verify general-3.bundle
    """
    shelf = _shelf(config)
    with _refusals(as_json):
        _show(shelf.verify(file), as_json)


@bundle.command()
def install(
    file: File,
    config: ConfigOption = DEFAULT_CONFIG,
    allow_downgrade: Annotated[bool, typer.Option("--allow-downgrade", help="Accept an older version.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a bundle and put it in service, from the next start of the appliance on. Exit 1: it is refused.

    Until then, and where anything goes wrong, the one before stays in service.

    Example: appliance bundle install general-3.bundle && systemctl restart appliance
    """
    shelf = _shelf(config)
    with _refusals(as_json):
        _show_change(shelf.install(file, allow_downgrade=allow_downgrade), as_json)


@bundle.command()
def rollback(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Put the bundle before that in service back, from the next start of the appliance on. Exit 1: it cannot be.

    Before the first bundle there is what comes with the software. Used again, it goes one further back; what can no
    longer be used is passed over.

    Example: appliance bundle rollback && systemctl restart appliance
    """
    shelf = _shelf(config)
    with _refusals(as_json):
        _show_change(shelf.rollback(), as_json)


@bundle.command("list")
def list_bundles(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List the bundles installed last and the software's own, and which is in service.

    Exit 1: that in service can no longer be used, and the software's own is used instead.

    Example: appliance bundle list --json | jq .[0].sha256
    """
    from appliance import assembly  # noqa: PLC0415

    found = _shelf(config).listed()
    own = assembly.shipped()
    place: Place = "its own" if any(each.place == "in service" for each in found) else "in service"
    found.append(Listed(Entry(own.manifest.name, own.manifest.version), place, own, None))
    if as_json:
        write_json(
            [
                {"place": each.place, **msgspec.to_builtins(each.entry), "problem": each.problem, **_said(each.bundle)}
                for each in found
            ]
        )
    else:
        table = list_table()
        table.add_column("place", no_wrap=True)
        table.add_column("bundle", no_wrap=True, overflow="ellipsis", max_width=NAME_CELLS)
        table.add_column("version", no_wrap=True, justify="right")
        table.add_column("signed by", no_wrap=True, overflow="ellipsis", max_width=NAME_CELLS)
        table.add_column("made")
        for each in found:
            about = f"[red]{plain(each.problem)}[/]" if each.bundle is None else plain(_origin(each.bundle))
            signer = "" if each.bundle is None else plain(each.bundle.signed_by or "comes with it")
            table.add_row(each.place, each.entry.name, str(each.entry.version), signer, about)
        console.print(table)
    raise typer.Exit(1 if found[0].place == "in service" and found[0].problem else 0)


def _shelf(config: Path) -> Shelf:
    from appliance import assembly  # noqa: PLC0415 - scipy takes a second; --help should not

    return assembly.shelf(load(config))


@contextmanager
def _refusals(as_json: bool) -> Iterator[None]:
    """Say why a bundle is refused, and end with 1."""
    try:
        yield
    except BundleRefused as refused:
        if as_json:
            write_json({"refused": refused.reason, "why": str(refused)})
        else:
            errors.print(f"[red]refused:[/] {plain(refused)}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None


def _show(found: Bundle, as_json: bool) -> None:
    if as_json:
        write_json({"refused": None, **_said(found)})
        return
    manifest = found.manifest
    console.print(f"[green]✓[/] {found}, {found.size:,} bytes, signed by {plain(found.signed_by)}")
    rows = {
        "made": f"{manifest.made_at:%Y-%m-%d %H:%M %Z}",
        "trained on": ", ".join(f"{each.name} ({each.licence})" for each in manifest.datasets),
        "metrics": ", ".join(f"{name} {value:.4g}" for name, value in manifest.metrics.items()),
        "software": ", ".join(f"{name} {version}" for name, version in manifest.software.items()),
        "tensors": ", ".join(_tensors(manifest.tensors)),
        "network": "none" if found.network is None else f"ONNX, {len(found.network):,} bytes",
        "sha256": found.sha256,
    }
    table = list_table()
    table.show_header = False
    for name, text in rows.items():
        table.add_row(name, plain(text))
    console.print(table)


def _show_change(change: Change, as_json: bool) -> None:
    if as_json:
        before = None if change.before is None else msgspec.to_builtins(change.before)
        write_json({"refused": None, "before": before, "now": None if change.now is None else _said(change.now)})
        return
    now, before = (str(each or SOFTWARES_OWN) for each in (change.now, change.before))
    if now == before:
        console.print(f"[green]✓[/] {now} was in service already")
    else:
        console.print(f"[green]✓[/] {now} is in service from the next start on; before it {before}")


def _said(found: Bundle | None) -> dict[str, Any]:
    if found is None:
        return {}
    return {
        "sha256": found.sha256,
        "bytes": found.size,
        "signed_by": found.signed_by,
        "manifest": msgspec.to_builtins(found.manifest),
    }


def _tensors(specs: Mapping[str, TensorSpec]) -> Iterator[str]:
    """Name the tensors; of meta-parameters, of which a method has dozens, say how many there are."""
    sizes: dict[str, list[int]] = {}
    for name, spec in specs.items():
        if name.startswith(ADAPTER):
            sizes.setdefault(name.removeprefix(ADAPTER).partition(".")[0], []).append(math.prod(spec.shape))
        else:
            yield f"{name} {spec}"
    for method, found in sizes.items():
        yield f"{ADAPTER}{method} {sum(found):,} numbers in {len(found)} tensors"


def _origin(found: Bundle) -> str:
    """Say when it was made and of what."""
    return (
        f"{found.manifest.made_at:%Y-%m-%d} of {', '.join(each.name for each in found.manifest.datasets) or 'nothing'}"
    )
