DROP VIEW {{.Events}};
DROP TABLE {{.Cleanup}};
DROP TABLE {{.Controls}};
DROP TABLE {{.Slots}};
DROP TABLE {{.Forwarders}};
DROP TABLE {{.Deliveries}};
DROP TABLE {{.Pending}};
DROP TABLE {{.Outbox}};
