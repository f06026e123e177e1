"""Two other implementations of QUIC knock at a node's ingest port: `interop.py STACK PORT`.

aioquic has no X25519MLKEM768 and must be refused for want of a common group; qh3 has it, and must get past the key
exchange, to be refused for the next thing that it lacks: raw public keys (RFC 7250). Exits with 0 when the node's
reason is the one expected.
"""

import asyncio
import importlib
import ssl
import sys

EXPECTED = {"aioquic": "NoKxGroupsInCommon", "qh3": "IncorrectCertificateTypeExtension"}
# TLS alert 40, handshake_failure, as QUIC carries it (RFC 9001, section 4.8).
HANDSHAKE_FAILURE = 0x100 + 40
DEADLINE_S = 30


async def reason(stack, port):
    """The code and the reason with which the node ends the handshake."""
    client = importlib.import_module(f"{stack}.asyncio.client")
    protocol = importlib.import_module(f"{stack}.asyncio.protocol")
    configuration = importlib.import_module(f"{stack}.quic.configuration").QuicConfiguration(
        is_client=True, alpn_protocols=["selfchain-ingest/1"], verify_mode=ssl.CERT_NONE
    )
    ended = asyncio.get_running_loop().create_future()

    class Watching(protocol.QuicConnectionProtocol):
        def quic_event_received(self, event):
            if type(event).__name__ == "ConnectionTerminated" and not ended.done():
                ended.set_result((event.error_code, event.reason_phrase))
            super().quic_event_received(event)

    try:
        async with client.connect("127.0.0.1", port, configuration=configuration, create_protocol=Watching):
            return (0, "connected")
    except ConnectionError:
        return await ended


def main():
    stack, port = sys.argv[1], int(sys.argv[2])
    code, why = asyncio.run(asyncio.wait_for(reason(stack, port), DEADLINE_S))
    print(f"{stack}: {code:#x} {why}")
    if code != HANDSHAKE_FAILURE or EXPECTED[stack] not in why:
        sys.exit(f"expected {HANDSHAKE_FAILURE:#x} {EXPECTED[stack]}")


main()
