"""Certificates that are made for one run."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The PEM files of a certificate and of its key."""

    cert: Path
    key: Path

    @property
    def settings(self) -> dict[str, str]:
        """What makes a server show it."""
        return {"tls-cert-file": str(self.cert), "tls-key-file": str(self.key)}


class Authority:
    """Issues certificates, and has one of its own, which it signed itself.

    ``file`` -- the PEM file by which it is trusted

    :param directory: where the files are, in which all names differ
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._signer = trustme.CA(organization_name=name)
        self.own = self._written(name, self._signer.cert_pem.bytes(), self._signer.private_key_pem.bytes())
        self.file = self.own.cert

    def issue(
        self, name: str, *hosts: str, not_before: datetime | None = None, not_after: datetime | None = None
    ) -> Certificate:
        """Issue a certificate for hosts."""
        issued = self._signer.issue_cert(*hosts, not_before=not_before, not_after=not_after)
        chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
        return self._written(name, chain, issued.private_key_pem.bytes())

    def _written(self, name: str, certificates: bytes, key: bytes) -> Certificate:
        files = Certificate(cert=self._directory / f"{name}.pem", key=self._directory / f"{name}-key.pem")
        files.cert.write_bytes(certificates)
        files.key.write_bytes(key)
        return files
