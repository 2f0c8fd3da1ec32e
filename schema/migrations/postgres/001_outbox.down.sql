DROP VIEW {{.Events}};
DROP FUNCTION {{.AsJSON}}(bytea);
DROP TABLE {{.Slots}};
DROP TABLE {{.Forwarders}};
DROP TABLE {{.Deliveries}};
DROP TABLE {{.Pending}};
DROP TABLE {{.Outbox}};
DROP FUNCTION {{.ToPending}}();
