import java.io.*;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.util.*;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;

/**
 * What pgjdbc, and tools on it such as DBeaver, do with a server, told on stdout: the same straight and through the bastion.
 * Arguments: a URL, a user, a password.
 */
public class Jdbc {
    public static void main(String[] arguments) throws Exception {
        String url = arguments[0];
        for (String mode : List.of("", "simple")) {
            Properties with = new Properties();
            with.setProperty("user", arguments[1]);
            with.setProperty("password", arguments[2]);
            if (!mode.isEmpty()) with.setProperty("preferQueryMode", mode);
            if (mode.isEmpty()) { with.setProperty("binaryTransfer", "true"); with.setProperty("prepareThreshold", "-1"); }
            with.setProperty("ApplicationName", "jdbc");
            System.out.println("=== " + (mode.isEmpty() ? "binary" : mode));
            try (Connection c = DriverManager.getConnection(url, with)) { all(c, mode); }
        }
    }

    static void all(Connection c, String mode) throws Exception {
        try (Statement s = c.createStatement()) {
            s.execute("CREATE TEMP TABLE t (id int primary key, name text, price numeric(10,2), at timestamptz, raw bytea, tags text[], ok bool, big bigint, d double precision, u uuid, j jsonb)");
            s.execute("SET TIME ZONE 'UTC'");
        }
        section("batch");
        c.setAutoCommit(false);
        try (PreparedStatement p = c.prepareStatement("INSERT INTO t VALUES (?,?,?,?,?,?,?,?,?,?,?::jsonb)")) {
            for (int n = 0; n < 2000; n++) {
                p.setInt(1, n); p.setString(2, "näme " + n); p.setBigDecimal(3, new java.math.BigDecimal(n + ".25"));
                p.setTimestamp(4, new Timestamp(1700000000000L + n * 1000L)); p.setBytes(5, new byte[] {0, (byte) n, (byte) 255});
                p.setArray(6, c.createArrayOf("text", new String[] {"a" + n, null})); p.setBoolean(7, n % 2 == 0); p.setLong(8, 1L << 40);
                p.setDouble(9, n / 3.0); p.setObject(10, new UUID(n, n)); p.setString(11, "{\"n\": " + n + "}");
                p.addBatch();
            }
            int[] done = p.executeBatch();
            System.out.println(done.length + " " + Arrays.stream(done).sum());
        }
        c.commit();
        section("prepared many times");
        try (PreparedStatement p = c.prepareStatement("SELECT * FROM t WHERE id = ?")) {
            for (int n = 0; n < 12; n++) {
                p.setInt(1, n * 7);
                try (ResultSet r = p.executeQuery()) { print(r); }
            }
        }
        section("cursor");
        try (Statement s = c.createStatement()) {
            s.setFetchSize(100);
            long sum = 0; int rows = 0;
            try (ResultSet r = s.executeQuery("SELECT id FROM t ORDER BY id")) { while (r.next()) { sum += r.getInt(1); rows++; } }
            System.out.println(rows + " " + sum);
            try (ResultSet r = s.executeQuery("SELECT id FROM t ORDER BY id")) { r.next(); System.out.println(r.getInt(1)); }
        }
        c.commit();
        section("savepoint and error");
        try (Statement s = c.createStatement()) {
            Savepoint p = c.setSavepoint();
            try { s.execute("SELECT 1/0"); } catch (SQLException e) { System.out.println(e.getSQLState() + " " + e.getMessage()); }
            c.rollback(p);
            s.execute("DELETE FROM t WHERE id < 10");
            System.out.println(s.getUpdateCount());
        }
        c.rollback();
        c.setAutoCommit(true);
        section("batch that fails");
        try (Statement s = c.createStatement()) {
            s.addBatch("UPDATE t SET name = 'x' WHERE id = 1"); s.addBatch("UPDATE t SET name = nothing"); s.addBatch("UPDATE t SET name = 'z' WHERE id = 2");
            try { s.executeBatch(); } catch (BatchUpdateException e) { System.out.println(Arrays.toString(e.getUpdateCounts()) + e.getNextException().getMessage()); }
        }
        section("many statements in one");
        try (Statement s = c.createStatement()) {
            boolean is = s.execute("SELECT 1; UPDATE t SET ok = true WHERE id < 3; SELECT 2");
            while (true) {
                if (is) { try (ResultSet r = s.getResultSet()) { print(r); } }
                else if (s.getUpdateCount() == -1) break;
                else System.out.println("updated " + s.getUpdateCount());
                is = s.getMoreResults();
            }
        }
        if (!mode.equals("simple")) {
            section("generated keys and updatable");
            try (Statement s = c.createStatement()) {
                s.execute("CREATE TEMP TABLE IF NOT EXISTS g (id serial primary key, v text)");
                s.executeUpdate("INSERT INTO g (v) VALUES ('one'), ('two')", Statement.RETURN_GENERATED_KEYS);
                try (ResultSet r = s.getGeneratedKeys()) { print(r); }
            }
            try (Statement s = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE);
                 ResultSet r = s.executeQuery("SELECT id, v FROM g ORDER BY id")) {
                r.next(); r.updateString(2, "changed"); r.updateRow(); r.refreshRow(); System.out.println(r.getString(2));
                r.last(); System.out.println(r.getRow());
            }
        }
        section("copy");
        CopyManager copying = c.unwrap(PGConnection.class).getCopyAPI();
        String csv = "7001,\"a,b\"\n7002,\"ü\"\n";
        System.out.println(copying.copyIn("COPY t (id, name) FROM STDIN (FORMAT csv)", new StringReader(csv)));
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        System.out.println(copying.copyOut("COPY (SELECT id, name FROM t WHERE id > 1995 ORDER BY id) TO STDOUT (FORMAT csv)", out));
        System.out.print(out.toString(StandardCharsets.UTF_8));
        ByteArrayOutputStream binary = new ByteArrayOutputStream();
        System.out.println(copying.copyOut("COPY (SELECT id, name FROM t ORDER BY id) TO STDOUT (FORMAT binary)", binary));
        System.out.println(binary.size());
        try { copying.copyIn("COPY t (id, name) FROM STDIN (FORMAT csv)", new StringReader("x,y\n")); } catch (SQLException e) { System.out.println(e.getSQLState()); }
        var cancelled = copying.copyIn("COPY t (id, name) FROM STDIN");
        cancelled.writeToCopy("8000\tx\n".getBytes(), 0, 7); cancelled.cancelCopy();
        section("large values");
        try (PreparedStatement p = c.prepareStatement("SELECT length(?::text), repeat('y', 3000000)")) {
            p.setString(1, "x".repeat(5_000_000));
            try (ResultSet r = p.executeQuery()) { r.next(); System.out.println(r.getInt(1) + " " + r.getString(2).length()); }
        }
        section("cancel and timeout");
        try (Statement s = c.createStatement()) {
            Thread other = new Thread(() -> { try { Thread.sleep(500); s.cancel(); } catch (Exception e) { e.printStackTrace(System.out); } });
            other.start();
            try { s.execute("SELECT pg_sleep(30)"); System.out.println("not cancelled"); } catch (SQLException e) { System.out.println(e.getSQLState()); }
            other.join();
            s.setQueryTimeout(1);
            try { s.execute("SELECT pg_sleep(30)"); System.out.println("no timeout"); } catch (SQLException e) { System.out.println(e.getSQLState()); }
        }
        section("read only, isolation, schema, valid, network timeout");
        c.setReadOnly(true);
        c.setAutoCommit(false);
        try (Statement s = c.createStatement()) { s.execute("CREATE TABLE no (x int)"); System.out.println("made"); } catch (SQLException e) { System.out.println(e.getSQLState()); }
        c.rollback();
        c.setAutoCommit(true);
        c.setReadOnly(false);
        c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
        System.out.println(c.getTransactionIsolation() + " " + c.isValid(3) + " " + c.getSchema() + " " + c.getCatalog());
        c.setNetworkTimeout(Runnable::run, 10000);
        section("listen");
        try (Statement s = c.createStatement()) {
            String channel = "p" + ProcessHandle.current().pid();  // the other run listens at the same time
            s.execute("LISTEN " + channel); s.execute("NOTIFY " + channel + ", 'paper'");
            PGNotification[] got = c.unwrap(PGConnection.class).getNotifications(5000);
            for (PGNotification g : got == null ? new PGNotification[0] : got) System.out.println(g.getParameter());
            s.execute("DO $$ BEGIN RAISE WARNING 'careful'; END $$");
            System.out.println(s.getWarnings() == null ? "no warning" : s.getWarnings().getMessage());
        }
        section("metadata");
        DatabaseMetaData m = c.getMetaData();
        System.out.println(m.getDatabaseProductName() + " " + m.getDatabaseProductVersion() + " " + m.getDriverVersion());
        for (ResultSet r : List.of(m.getCatalogs(), m.getSchemas(null, "public"), m.getTableTypes())) print(r);
        for (ResultSet r : List.of(m.getTables(null, "public", "%", null), m.getColumns(null, "public", "items", "%"), m.getPrimaryKeys(null, "public", "items"),
                m.getImportedKeys(null, "public", "items"), m.getExportedKeys(null, "public", "items"),
                m.getTablePrivileges(null, "public", "items"))) print(r);
        count(m.getIndexInfo(null, "public", "items", false, false)); count(m.getTables(null, "pg_catalog", "%", null)); count(m.getColumns(null, "pg_catalog", "%", "%")); count(m.getProcedures(null, null, "%")); count(m.getFunctions(null, null, "%"));
        if (mode.equals("simple")) return;
        section("call");
        try (CallableStatement call = c.prepareCall("{ ? = call upper(?) }")) { call.registerOutParameter(1, Types.VARCHAR); call.setString(2, "shout"); call.execute(); System.out.println(call.getString(1)); }
    }

    static void section(String name) { System.out.println("--- " + name); }

    static void count(ResultSet r) throws SQLException { int n = 0; while (r.next()) n++; System.out.println(n + " rows"); r.close(); }

    static void print(ResultSet r) throws SQLException {
        ResultSetMetaData m = r.getMetaData();
        while (r.next()) {
            StringBuilder line = new StringBuilder();
            for (int n = 1; n <= m.getColumnCount(); n++) {
                Object value = r.getObject(n);
                line.append(m.getColumnLabel(n)).append('=').append(value instanceof byte[] bytes ? Arrays.toString(bytes) : value).append(' ');
            }
            System.out.println(line);
        }
        r.close();
    }
}
