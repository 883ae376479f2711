"""The name server of a test cluster: what pods of headless Services (hostname.service.namespace.svc.cluster.local) resolve to, asked
of the API server at each question. Anything else does not exist. A program of its own: names.py SERVER_URL CERTIFICATES ADDRESS"""
import http.client
import json
import os
import socket
import ssl
import struct
import sys
import urllib.parse

DOMAIN = "svc.cluster.local"


def addresses_of(connection_of, name):
    """The addresses of a name, or None when there is no such name."""
    labels = name.lower().rstrip(".").split(".")
    if ".".join(labels[-3:]) != DOMAIN or len(labels) not in (5, 6):
        return None
    host, (service, namespace) = (labels[0] if len(labels) == 6 else None), labels[-5:-3]
    connection = connection_of()
    try:
        connection.request("GET", f"/api/v1/namespaces/{urllib.parse.quote(namespace)}/endpoints/{urllib.parse.quote(service)}")
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        return None
    found = [a["ip"] for subset in json.loads(body).get("subsets") or [] for a in subset.get("addresses") or []
             if host is None or a.get("hostname") == host]
    return found or None


def question(packet):
    """Name, type and the end of the one question of a packet."""
    position, labels = 12, []
    while packet[position]:
        size = packet[position]
        labels.append(packet[position + 1:position + 1 + size].decode("ascii", "replace"))
        position += 1 + size
    return ".".join(labels), struct.unpack(">H", packet[position + 1:position + 3])[0], position + 5


def answer(packet, connection_of):
    name, kind, end = question(packet)
    code, found = 0, []
    try:
        found = addresses_of(connection_of, name)
        if found is None:
            code, found = 3, []
    except (OSError, http.client.HTTPException, ValueError):
        code = 2  # ask again
    records = [b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 2, 4) + socket.inet_aton(a) for a in found if kind == 1]
    return packet[:2] + struct.pack(">HHHHH", 0x8580 | code, 1, len(records), 0, 0) + packet[12:end] + b"".join(records)


def main():
    server, certificates, address = sys.argv[1:4]
    context = ssl.create_default_context(cafile=os.path.join(certificates, "ca.crt"))
    context.load_cert_chain(os.path.join(certificates, "admin.crt"), os.path.join(certificates, "admin.key"))
    host = urllib.parse.urlsplit(server)
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((address, 53))
    while True:
        packet, sender = listener.recvfrom(4096)
        try:
            listener.sendto(answer(packet, lambda: http.client.HTTPSConnection(host.hostname, host.port, context=context, timeout=5)),
                            sender)
        except (IndexError, struct.error, OSError):
            continue  # not a question


if __name__ == "__main__":
    main()
