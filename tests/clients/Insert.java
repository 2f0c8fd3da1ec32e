import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.util.Base64;

import org.postgresql.util.PGobject;
import org.postgresql.util.PSQLException;

import static java.nio.charset.StandardCharsets.UTF_8;

/** Stores events through JDBC: Insert URL FILE. Each line of FILE is a topic, how to give the payload, and the payload in Base64. */
class Insert {
    // docs:insert
    static void placeOrder(Connection db, String id, int total, String json) throws SQLException {
        db.setAutoCommit(false);
        try (var order = db.prepareStatement("INSERT INTO orders (id, total) VALUES (?, ?)");
             var event = db.prepareStatement(
                 "INSERT INTO outbox (topic, payload, aggregate_type, aggregate_id) VALUES ('orders.placed', ?, 'order', ?)")) {
            order.setString(1, id);
            order.setInt(2, total);
            order.executeUpdate();
            event.setString(1, json); // bytes go to payload_bytes, by setBytes
            event.setString(2, id);
            event.executeUpdate();
            db.commit();
        } catch (SQLException e) {
            db.rollback();
            throw e;
        }
    }
    // docs:end

    static void store(Connection db, String topic, String kind, byte[] payload) throws SQLException {
        String column = kind.equals("bytes") ? "payload_bytes" : "payload";
        try (var event = db.prepareStatement("INSERT INTO outbox (topic, " + column + ") VALUES (?, ?)")) {
            event.setString(1, topic);
            switch (kind) {
                case "text" -> event.setString(2, new String(payload, UTF_8));
                case "json", "jsonb" -> {
                    var value = new PGobject();
                    value.setType(kind);
                    value.setValue(new String(payload, UTF_8));
                    event.setObject(2, value);
                }
                default -> event.setBytes(2, payload);
            }
            event.executeUpdate();
        }
    }

    public static void main(String[] args) throws Exception {
        try (var db = DriverManager.getConnection(args[0])) {
            placeOrder(db, "7", 9, "{\"id\":\"7\",\"total\":9,\"note\":\"C:\\\\dir \\\"é\\\"\"}");
            db.setAutoCommit(true);
            for (String line : Files.readAllLines(Path.of(args[1]))) {
                String[] part = line.split("\t", -1);
                try {
                    store(db, part[0], part[1], Base64.getDecoder().decode(part[2]));
                } catch (PSQLException refusal) {
                    if (!refusal.getSQLState().equals("23514")) throw refusal;
                    var why = refusal.getServerErrorMessage();
                    System.out.println(part[0] + "\t" + why.getMessage() + "\t" + why.getHint());
                }
            }
        }
    }
}
