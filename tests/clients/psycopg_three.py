"""Stores events with psycopg 3: psycopg_three.py URL FILE. Each line of FILE is a topic, how to give the payload, and the payload in Base64."""

import base64
import json
import sys

# docs:insert
import psycopg
from psycopg.types.json import Jsonb


def place_order(conn: psycopg.Connection, order: dict) -> None:
    with conn.transaction():
        conn.execute("INSERT INTO orders (id, total) VALUES (%s, %s)", (order["id"], order["total"]))
        conn.execute(
            "INSERT INTO outbox (topic, payload, aggregate_type, aggregate_id) VALUES ('orders.placed', %s, 'order', %s)",
            (Jsonb(order), order["id"]),  # Json or a str too; bytes go to payload_bytes
        )
# docs:end


def store(conn: psycopg.Connection, topic: str, kind: str, payload: bytes) -> None:
    match kind:
        case "text":
            column, value = "payload", payload.decode()
        case "json":
            column, value = "payload", psycopg.types.json.Json(json.loads(payload))
        case "jsonb":
            column, value = "payload", Jsonb(json.loads(payload))
        case "bytes":
            column, value = "payload_bytes", payload
        case "misplaced":
            column, value = "payload", payload
    conn.execute(f"INSERT INTO outbox (topic, {column}) VALUES (%s, %s)", (topic, value))


with psycopg.connect(sys.argv[1], autocommit=True) as conn:
    place_order(conn, {"id": "7", "total": 9, "note": 'C:\\dir "é"'})
    for line in open(sys.argv[2], encoding="ascii"):
        topic, kind, payload = line.rstrip("\n").split("\t")
        try:
            store(conn, topic, kind, base64.b64decode(payload))
        except psycopg.errors.CheckViolation as refusal:
            print(topic, refusal.diag.message_primary, refusal.diag.message_hint, sep="\t")
