// The same service on Fastify and better-sqlite3: one process, and one commit for each order.
import Database from "better-sqlite3";
import Fastify from "fastify";
import { createHash, randomBytes, randomUUID } from "node:crypto";

const db = new Database(process.env.BENCH_DATABASE, { fileMustExist: true, timeout: 10_000 });
db.pragma("journal_mode = WAL");
db.pragma("synchronous = FULL"); // With WAL, the default of better-sqlite3 is NORMAL.
db.pragma("foreign_keys = ON");

const CLIENT = "public";
const BARE_KEY = /^[!#-+\--~]{1,255}$/;
const QUOTED_KEY = /^"((?:[ !#-\[\]-~]|\\["\\])+)"$/;
const ACCEPTED_ID = /^[A-Za-z0-9._~:+/=-]{1,128}$/;

const text = { type: "string", minLength: 1, maxLength: 128, pattern: "^(?=.*\\S)[^\\p{Cc}\\p{Cs}]*$" };
const orderSchema = {
  type: "object",
  required: ["customer_id", "item_id", "quantity"],
  additionalProperties: false,
  properties: {
    customer_id: text,
    item_id: text,
    quantity: { type: "integer", minimum: 1, maximum: 1_000_000 },
  },
};

const findClaim = db.prepare(
  "SELECT request_hash, status_code, response_body, order_id FROM idempotency_keys" +
    " WHERE client_id = ? AND idempotency_key = ?",
);
const findOrder = db.prepare(
  "SELECT order_id, customer_id, item_id, quantity, status FROM orders" +
    " WHERE order_id = ? AND client_id = ?",
);
const insertOrder = db.prepare("INSERT INTO orders VALUES (?, ?, ?, ?, ?, 'created', ?)");
const insertLedgerEntry = db.prepare(
  "INSERT INTO ledger (order_id, customer_id, item_id, quantity, entry_type, created_at)" +
    " VALUES (?, ?, ?, ?, 'order_created', ?)",
);
const appendEvent = db.prepare(
  "INSERT INTO events SELECT COALESCE(MAX(sequence), 0) + 1, ?, 'order.created', ?, ?, ?, ? FROM events",
);
const saveClaim = db.prepare(
  "INSERT INTO idempotency_keys (client_id, idempotency_key, request_hash, status_code," +
    " response_body, order_id, created_at) VALUES (?, ?, ?, 201, ?, ?, ?)",
);

const app = Fastify({
  logger: true,
  disableRequestLogging: true, // Fastify writes two lines for a request, and orderapi one (see onResponse).
  bodyLimit: 16 * 1024,
  ajv: { customOptions: { coerceTypes: false, removeAdditional: false, unicodeRegExp: true } },
  requestIdHeader: false,
  genReqId: (raw) => {
    const sent = raw.headers["x-request-id"];
    return sent && ACCEPTED_ID.test(sent) ? sent : randomUUID();
  },
});

app.addHook("onSend", async (request, reply) => {
  reply.header("X-Request-ID", request.id);
});
app.addHook("onResponse", async (request, reply) => {
  request.log.info({
    method: request.method,
    path: request.url,
    status: reply.statusCode,
    duration_ms: reply.elapsedTime,
  });
});

app.post("/orders", { schema: { body: orderSchema } }, (request, reply) => {
  const key = parseKey(request.headers["idempotency-key"]);
  if (key === null) return reply.code(400).send({ title: "Idempotency-Key missing or invalid" });
  const hash = fingerprint(request.body);
  const saved = findClaim.get(CLIENT, key) ?? placeOrder.immediate(key, hash, request.body);
  if (saved.request_hash !== hash) return reply.code(409).send({ title: "Idempotency-Key reused" });
  if (!saved.isNew) reply.header("Idempotent-Replayed", "true");
  return reply
    .code(saved.status_code)
    .header("Location", `/orders/${saved.order_id}`)
    .type("application/json")
    .send(saved.response_body);
});

app.get("/orders/:id", (request, reply) => {
  const order = findOrder.get(request.params.id, CLIENT);
  if (!order) return reply.code(404).send({ title: "Not found" });
  return reply.type("application/json").send(JSON.stringify(order));
});

app.get("/healthz", () => ({ status: "ok" }));

const placeOrder = db.transaction((key, hash, order) => {
  const first = findClaim.get(CLIENT, key);
  if (first) return first;
  const now = new Date().toISOString();
  const id = uuid7();
  const members = [order.customer_id, order.item_id, order.quantity];
  insertOrder.run(id, CLIENT, ...members, now);
  insertLedgerEntry.run(id, ...members, now);
  const body = JSON.stringify({
    order_id: id,
    customer_id: order.customer_id,
    item_id: order.item_id,
    quantity: order.quantity,
    status: "created",
  });
  appendEvent.run(randomUUID(), id, CLIENT, body, now);
  saveClaim.run(CLIENT, key, hash, body, id, now);
  return { request_hash: hash, status_code: 201, response_body: body, order_id: id, isNew: true };
});

function parseKey(header) {
  const key = (header ?? "").trim();
  if (BARE_KEY.test(key)) return key;
  const unquoted = QUOTED_KEY.exec(key)?.[1].replace(/\\(.)/g, "$1");
  return unquoted && unquoted.length <= 255 ? unquoted : null;
}

function fingerprint(order) {
  const canonical = JSON.stringify({
    customer_id: order.customer_id,
    item_id: order.item_id,
    quantity: order.quantity,
  });
  return createHash("sha256").update(`POST\n/orders\n${canonical}`).digest("hex");
}

function uuid7() {
  const hex = Date.now().toString(16).padStart(12, "0") + "7" + randomBytes(10).toString("hex").slice(1);
  const variant = ((parseInt(hex[16], 16) & 3) | 8).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20)}`;
}

process.on("SIGTERM", () => app.close());
await app.listen({ host: "127.0.0.1", port: Number(process.env.BENCH_PORT) });
