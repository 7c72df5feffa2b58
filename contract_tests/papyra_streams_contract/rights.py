"""The least that a user of the server has to be allowed, by what the user does.

The documentation has the same lines, to be copied; tests hold the two together.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from .secrecy import SECRET

KEYS = ("papyra:orders:*",)
"""Those of the system ``orders`` with the default prefix."""

PROBE = "papyra-streams:probe*"
"""Keys that are never there. Whether the server's reads can claim is found out with it, and nothing else."""

_SCRIPTS = ("eval", "evalsha")


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What one kind of user does, as the server sees it.

    ``commands`` -- without any one of them, something that the role does is denied
    ``optional`` -- without these nothing is denied, and less is told
    ``only_reads`` -- whether its keys may be made readable alone, where the server can do that
    """

    name: str
    commands: tuple[str, ...]
    optional: tuple[str, ...] = ()
    only_reads: bool = False

    def line(
        self, *, password: str = SECRET, keys: Collection[str] = KEYS, without: str = "", readable: bool = False
    ) -> list[str]:
        """Return the words for ACL SETUSER.

        :param without: a command that is not to be granted
        :param readable: make the keys readable alone. Servers run no script on such keys, so that a selector of
            their own grants scripts; what a script does is held to the other rights all the same
        """
        granted = [name for name in (*self.commands, *self.optional) if name != without]
        begin = ["on", f">{password}"]
        if not readable:
            return [*begin, *_patterns("~", keys), *_granting(granted)]
        selector = [*_patterns("~", keys), *_granting(name for name in _SCRIPTS if name in granted)]
        others = _granting(name for name in granted if name not in _SCRIPTS)
        return [*begin, *_patterns("%R~", keys), *others, f"({' '.join(selector)})"]


def _patterns(begin: str, keys: Iterable[str]) -> list[str]:
    return [f"{begin}{pattern}" for pattern in keys]


def _granting(commands: Iterable[str]) -> list[str]:
    return [f"+{name}" for name in commands]


WRITER = Role(name="orders-writer", commands=("eval", "evalsha", "get", "set", "xadd", "xrevrange"))

CONSUMER = Role(
    name="orders-consumer",
    commands=(
        *("eval", "evalsha", "xgroup|create", "xreadgroup", "xack", "xclaim", "xpending", "xrange", "xadd", "exists"),
        *("xinfo|groups", "xinfo|stream", "xinfo|consumers", "xgroup|delconsumer"),
        *("get", "set", "del", "pexpire", "hget", "hset"),
    ),
)

PLAIN_CONSUMER = Role(
    name="orders-plain-consumer", commands=("xgroup|create", "xreadgroup", "xack", "xclaim", "xpending", "xrange")
)
"""A consumer without subscriptions. Only Redis 6.2 has to be asked for a range."""

OPERATOR = Role(
    name="orders-operator",
    commands=(
        *("eval", "evalsha", "xlen", "xrange", "xrevrange", "xpending", "xinfo|groups", "xinfo|consumers", "exists"),
        *("time", "xadd", "xdel", "xack", "xtrim", "xclaim", "xgroup|delconsumer", "get", "hget", "hset"),
        *("hkeys", "hdel", "xinfo|stream", "xgroup|create", "xgroup|createconsumer", "xgroup|destroy", "xsetid"),
        *("rename", "unlink", "persist", "pexpire", "pttl"),
    ),
    optional=("memory|usage",),
)

DASHBOARD = Role(
    name="orders-dashboard",
    commands=(
        *("eval", "evalsha", "xlen", "xrange", "xrevrange", "xpending", "xinfo|groups", "xinfo|consumers", "exists"),
        "time",
    ),
    only_reads=True,
)

ROLES = (WRITER, CONSUMER, OPERATOR, DASHBOARD)

EVERYTHING = Role(
    name="orders",
    commands=tuple(dict.fromkeys(name for role in ROLES for name in role.commands)),
    optional=tuple(dict.fromkeys(name for role in ROLES for name in role.optional)),
)
"""An actor system that does all of it."""
