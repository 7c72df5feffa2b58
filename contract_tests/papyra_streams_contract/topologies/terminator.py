"""Ends TLS before a server program that was built without it: ``python terminator.py PORT BEHIND SETTING ...``.

It is a script that imports little, since one is started for each of these servers. The settings are the server's, such
as ``tls-cert-file=FILE``.
"""

import asyncio
import ssl
import sys

_HOST = "127.0.0.1"
_CHUNK = 65536


async def serve(port: int, behind: int, settings: dict[str, str]) -> None:
    """Serve until the process is ended."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings["tls-cert-file"], settings["tls-key-file"])
    if settings["tls-auth-clients"] == "yes":
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(settings["tls-ca-cert-file"])

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _connect(reader, writer, behind)

    server = await asyncio.start_server(accept, _HOST, port, ssl=context, limit=_CHUNK, backlog=511)
    await server.serve_forever()


async def _connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, behind: int) -> None:
    try:
        upstream_reader, upstream_writer = await asyncio.open_connection(_HOST, behind, limit=_CHUNK)
    except OSError:
        writer.transport.abort()
        return
    pumps = {
        asyncio.create_task(_pump(reader, upstream_writer)),
        asyncio.create_task(_pump(upstream_reader, writer)),
    }
    # Whichever side ends first, the connection has ended.
    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    for pump in pumps:
        pump.cancel()
    writer.close()
    upstream_writer.close()
    await asyncio.gather(*pumps, writer.wait_closed(), upstream_writer.wait_closed(), return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), dict(each.split("=", 1) for each in sys.argv[3:])))
