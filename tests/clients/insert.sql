-- docs:insert
BEGIN;
INSERT INTO orders (id, total) VALUES ('7', 9);
INSERT INTO outbox (topic, payload, aggregate_type, aggregate_id)
    VALUES ('orders.placed', '{"id":"7","total":9,"note":"C:\\dir \"é\""}', 'order', '7');
COMMIT;
-- docs:end
