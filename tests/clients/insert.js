// Stores events with node-postgres: insert.js URL FILE. Each line of FILE is a topic, how to give the payload, and the payload in Base64.
const fs = require("fs");

// docs:insert
const { Client } = require("pg");

async function placeOrder(client, order) {
  await client.query("BEGIN");
  try {
    await client.query("INSERT INTO orders (id, total) VALUES ($1, $2)", [order.id, order.total]);
    await client.query(
      "INSERT INTO outbox (topic, payload, aggregate_type, aggregate_id) VALUES ('orders.placed', $1, 'order', $2)",
      [JSON.stringify(order), order.id], // a Buffer goes to payload_bytes
    );
    await client.query("COMMIT");
  } catch (err) {
    await client.query("ROLLBACK");
    throw err;
  }
}
// docs:end

async function store(client, topic, kind, payload) {
  let column = "payload", value;
  switch (kind) {
    case "text": value = payload.toString(); break;
    case "json": case "jsonb": value = JSON.parse(payload.toString()); break;
    case "bytes": column = "payload_bytes"; value = payload; break;
    case "misplaced": value = payload; break;
  }
  await client.query(`INSERT INTO outbox (topic, ${column}) VALUES ($1, $2)`, [topic, value]);
}

async function main() {
  const client = new Client({ connectionString: process.argv[2] });
  await client.connect();
  await placeOrder(client, { id: "7", total: 9, note: 'C:\\dir "é"' });
  for (const line of fs.readFileSync(process.argv[3], "ascii").split("\n")) {
    if (line === "") continue;
    const [topic, kind, payload] = line.split("\t");
    try {
      await store(client, topic, kind, Buffer.from(payload, "base64"));
    } catch (refusal) {
      if (refusal.code !== "23514") throw refusal;
      console.log([topic, refusal.message, refusal.hint].join("\t"));
    }
  }
  await client.end();
}

main().catch((err) => { console.error(err); process.exit(1); });
