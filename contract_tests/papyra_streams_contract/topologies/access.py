"""How the servers of a topology are reached, and who is let in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from papyra_streams.endpoint import Endpoint, Tls

from ..servers import LOCALHOST, free_port


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What servers and Sentinels of one topology have in common. By default everybody is let in, without TLS.

    ``tls`` -- what raw connections show; None without TLS
    ``certificates`` -- settings of all that listen with TLS, and connect to each other with it
    ``ca`` -- the PEM file of whom a driver is to trust
    """

    password: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    certificates: Mapping[str, str] = field(default_factory=dict)
    ca: str | None = None

    @property
    def settings(self) -> dict[str, str]:
        """What makes a server, and its replicas, do so."""
        passwords = {"requirepass": self.password, "masterauth": self.password} if self.password else {}
        return {**passwords, **self.certificates}

    def endpoint(self) -> Endpoint:
        """Return where a further server can listen."""
        return Endpoint(host=LOCALHOST, port=free_port(), tls=self.tls, password=self.password)

    def url(self, topology: str, servers: Iterable[Endpoint], path: str = "", **options: str) -> str:
        """Return what a user would write.

        :param options: to stand there beside those for TLS
        """
        scheme = "rediss" if self.tls else "redis"
        login = f":{self.password}@" if self.password else ""
        addresses = ",".join(each.address for each in servers)
        query = urlencode({**({"ca": self.ca} if self.ca else {}), **options})
        return f"{scheme}+{topology}://{login}{addresses}{path}{query and '?'}{query}"


OPEN = Access()
