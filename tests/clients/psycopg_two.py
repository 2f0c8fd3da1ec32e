"""Stores events with psycopg 2: psycopg_two.py URL FILE. Each line of FILE is a topic, how to give the payload, and the payload in Base64."""

import base64
import json
import sys

# docs:insert
import psycopg2
from psycopg2.extras import Json


def place_order(conn: psycopg2.extensions.connection, order: dict) -> None:
    with conn, conn.cursor() as cur:
        cur.execute("INSERT INTO orders (id, total) VALUES (%s, %s)", (order["id"], order["total"]))
        cur.execute(
            "INSERT INTO outbox (topic, payload, aggregate_type, aggregate_id) VALUES ('orders.placed', %s, 'order', %s)",
            (Json(order), order["id"]),  # a str too; bytes go to payload_bytes
        )
# docs:end


def store(cur: psycopg2.extensions.cursor, topic: str, kind: str, payload: bytes) -> None:
    match kind:
        case "text":
            column, value = "payload", payload.decode()
        case "json" | "jsonb":
            column, value = "payload", Json(json.loads(payload))
        case "bytes":
            column, value = "payload_bytes", payload
        case "misplaced":
            column, value = "payload", payload
    cur.execute(f"INSERT INTO outbox (topic, {column}) VALUES (%s, %s)", (topic, value))


conn = psycopg2.connect(sys.argv[1])
place_order(conn, {"id": "7", "total": 9, "note": 'C:\\dir "é"'})
conn.autocommit = True
for line in open(sys.argv[2], encoding="ascii"):
    topic, kind, payload = line.rstrip("\n").split("\t")
    try:
        with conn.cursor() as cur:
            store(cur, topic, kind, base64.b64decode(payload))
    except psycopg2.errors.CheckViolation as refusal:
        print(topic, refusal.diag.message_primary, refusal.diag.message_hint, sep="\t")
conn.close()
