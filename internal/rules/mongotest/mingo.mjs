// Reads pairs as JSON lines, {"doc": ..., "query": ...}, and writes what mingo says of each: true, false, or its error.
import { createInterface } from "node:readline";
import { Query } from "mingo";

const out = [];
for await (const line of createInterface({ input: process.stdin })) {
  const { doc, query } = JSON.parse(line);
  try {
    out.push(JSON.stringify(new Query(query).test(doc)));
  } catch (err) {
    out.push(JSON.stringify(String(err)));
  }
}
process.stdout.write(out.join("\n") + "\n");
