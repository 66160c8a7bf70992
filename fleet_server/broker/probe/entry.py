"""Questions about getting in at all: TLS, certificates, MQTT 5. Asked by bare sockets: a library hides the answers."""

from __future__ import annotations

import socket
import ssl

from fleet_server.broker.probe.client import ANSWER_S, FAILURE_FROM, Place
from fleet_server.broker.probe.errors import BrokerNotAskable
from fleet_server.broker.probe.stage import Cast, Finding, Question, Stage
from protocol import mqtt_packets as packets
from protocol.mqtt_packets import Connack, PacketReader

_REFUSED = (OSError, ssl.SSLError)


def reach(place: Place, cast: Cast) -> None:
    """Raises ``BrokerNotAskable`` where nobody answers, or somebody whose certificate is not to be believed."""
    context = cast.services[0].context if cast.services else None
    try:
        with socket.create_connection((place.host, place.port), ANSWER_S) as raw:
            if context is not None:
                context.wrap_socket(raw, server_hostname=place.host).close()
    except OSError as error:
        raise BrokerNotAskable(f"no broker that can be believed at {place.host}:{place.port}: {error}") from error


def tls_only(stage: Stage) -> Finding:
    if not stage.place.tls:
        return Finding(False, "连接不加密（mqtt://）", "the connection is not encrypted (mqtt://)")
    identity = stage.cast.services[0]
    # With its certificate: without one an old version would be refused for another reason.
    context = identity.context or ssl.create_default_context()
    before = context.maximum_version
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        _connack(stage.place, context, identity.name)
    except _REFUSED as error:
        return Finding(True, f"TLS 1.2 被拒绝（{error}）", f"TLS 1.2 is refused ({error})")
    finally:
        context.maximum_version = before
    return Finding(False, "接受 TLS 1.2", "TLS 1.2 is taken")


def certificate_demanded(stage: Stage) -> Finding:
    if not stage.place.tls:
        return Finding(False, "没有 TLS，也就没有客户端证书", "without TLS there are no client certificates")
    bare = ssl.create_default_context()
    bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
    try:
        answer = _connack(stage.place, bare, "probe-nobody")
    except _REFUSED as error:
        return Finding(True, f"没有证书被拒绝（{error}）", f"without a certificate it is refused ({error})")
    if answer is None or answer.reason:
        code = "-" if answer is None else f"0x{answer.reason:02x}"
        return Finding(True, f"没有证书被拒绝（{code}）", f"without a certificate it is refused ({code})")
    return Finding(False, "没有证书也可以连接", "a client without a certificate is let in")


def speaks_mqtt_5(stage: Stage) -> Finding:
    identity = stage.cast.services[0]
    try:
        answer = _connack(stage.place, identity.context, identity.name)
    except _REFUSED as error:
        return Finding(False, f"没有 CONNACK（{error}）", f"no CONNACK ({error})")
    if answer is None:
        return Finding(False, "没有 CONNACK，连接被断开", "no CONNACK, the broker hung up")
    if answer.reason:
        # 1 is what brokers of MQTT 3.1.1 say: unacceptable protocol version.
        what = f"CONNACK 0x{answer.reason:02x}"
        return Finding(False, f"拒绝：{what}", f"refused: {what}")
    return Finding(True, "CONNACK 0", "CONNACK 0")


def _connack(place: Place, context: ssl.SSLContext | None, client_id: str) -> Connack | None:
    """None: the broker hung up. Raises what socket and TLS raise."""
    with socket.create_connection((place.host, place.port), ANSWER_S) as raw:
        link = raw if context is None else context.wrap_socket(raw, server_hostname=place.host)
        with link:
            link.sendall(packets.connect(client_id, 30, max_packet_bytes=262_144))
            reader = PacketReader()
            while data := link.recv(4096):
                for packet in reader.feed(data):
                    if not isinstance(packet, Connack):
                        return None
                    if packet.reason < FAILURE_FROM and packet.reason == 0:
                        link.sendall(packets.DISCONNECT)
                    return packet
    return None


MQTT_5 = Question(
    "mqtt5", "支持 MQTT 5", "speaks MQTT 5", needed=True, ask=speaks_mqtt_5, devices=0
)  # fmt: skip
QUESTIONS = (
    Question("tls13", "只接受 TLS 1.3", "takes TLS 1.3 only", needed=True, ask=tls_only, devices=0),
    Question(
        "certificate", "必须出示客户端证书", "demands a client certificate", needed=True, ask=certificate_demanded,
        devices=0,
    ),
)  # fmt: skip
