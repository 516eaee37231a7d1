import de.bwaldvogel.mongo.MongoBackend;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.net.InetSocketAddress;
import java.util.List;
import org.h2.mvstore.MVStore;
import org.h2.mvstore.MVStoreException;

/**
 * A server of the MongoDB protocol for the tests, around mongo-java-server.
 *
 * <p>It runs as one source file: {@code java -cp 'LIB/*' MongoServer.java --help}, with LIB as filled by {@code fetch}.
 */
public final class MongoServer {

    private static final String HELP = """
        A server of the MongoDB protocol for tests. It asks nobody for a password.

        Usage: MongoServer [--host ADDRESS] [--port N] [--file PATH] [--like ferretdb|nothing] [--durable-only]

          --host ADDRESS  the address to listen on, 127.0.0.1 unless given
          --port N        the port to listen on; 0, the default, picks a free one
          --file PATH     keep the data in this H2 MVStore file, made if absent (its folder must exist);
                          without it they are in memory and go with the process
          --like ferretdb differ from MongoDB as FerretDB 1.24 does: a unique index guards arrays as wholes, a violation by
                          an update has the code 1, createIndexes fails when two of its indexes exist,
                          renameCollection has no dropTarget
          --like nothing  as --like ferretdb, and no index but _id guards anything
          --durable-only  refuse writes that don't ask for a majority and its journals
          --help          print this text

        Of an option given twice the last counts.
        Prints one line on stdout when it is ready: listening on ADDRESS:PORT
        With --file, a write is in the file before it is acknowledged and survives kill -9; there is no
        fsync, so a power cut may lose it. Stop it with SIGTERM, or kill it.
        Exit status: 1 cannot listen or open the file, 2 wrong usage.""";

    /** The Rust driver wants wire version 9 or more; the library's own newest is 8. */
    private static final MongoVersion MONGODB_5 = new MongoVersion() {
        @Override
        public List<Integer> getVersionArray() {
            return List.of(5, 0, 0);
        }

        @Override
        public int getWireVersion() {
            return 13;
        }
    };

    private record Options(String host, int port, String file, String like, boolean durableOnly) {}

    private MongoServer() {}

    public static void main(String[] args) {
        Options options = parse(args);
        MongoBackend backend = open(options);
        backend.version(MONGODB_5);
        var server = new de.bwaldvogel.mongo.MongoServer(backend);
        try {
            server.bind(new InetSocketAddress(options.host(), options.port()));
        } catch (Exception e) { // netty throws the checked BindException undeclared
            throw fail(1, "cannot listen on " + options.host() + ":" + options.port() + ": " + e.getMessage());
        }
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
        System.out.println("listening on " + options.host() + ":" + server.getLocalAddress().getPort());
    }

    private static Options parse(String[] args) {
        String host = "127.0.0.1";
        int port = 0;
        String file = null;
        String like = null;
        boolean durableOnly = false;
        for (int i = 0; i < args.length; i++) {
            switch (args[i]) {
                case "--help", "-h" -> {
                    System.out.println(HELP);
                    System.exit(0);
                }
                case "--host" -> host = value(args, ++i);
                case "--port" -> port = port(value(args, ++i));
                case "--file" -> file = value(args, ++i);
                case "--like" -> like = like(value(args, ++i));
                case "--durable-only" -> durableOnly = true;
                default -> throw fail(2, "unknown argument " + args[i] + "; try --help");
            }
        }
        return new Options(host, port, file, like, durableOnly);
    }

    private static String like(String name) {
        if (name.equals("ferretdb") || name.equals("nothing")) {
            return name;
        }
        throw fail(2, "--like takes ferretdb or nothing, not " + name);
    }

    private static String value(String[] args, int i) {
        if (i == args.length || args[i].isEmpty()) {
            throw fail(2, args[i - 1] + " needs a value; try --help");
        }
        return args[i];
    }

    private static int port(String text) {
        try {
            int port = Integer.parseInt(text);
            if (port >= 0 && port <= 65535) {
                return port;
            }
        } catch (NumberFormatException e) {
            // the message below says it
        }
        throw fail(2, "--port takes a number from 0 to 65535, not " + text);
    }

    private static MongoBackend open(Options options) {
        String file = options.file();
        if (file == null) {
            return oneAtATime(new MemoryBackend(), () -> {}, options);
        }
        try {
            // No background commit, by time or by size: the only commits are those after a command, so that
            // what a kill leaves behind is the state between two commands, never a document without its index entry.
            // Each commit appends the pages it changed, 50 KB for a small write: compression keeps the file in bounds.
            MVStore store = new MVStore.Builder()
                .fileName(file)
                .autoCommitDisabled()
                .autoCommitBufferSize(0)
                .compress()
                .open();
            return oneAtATime(new H2Backend(store), store::commit, options);
        } catch (MVStoreException | IllegalArgumentException e) {
            throw fail(1, "cannot open " + file + ": " + e.getMessage());
        }
    }

    /**
     * Runs the commands one after the other, each committed before its reply leaves.
     *
     * <p>The library replies with its live documents, and encodes them after it has let go of its own locks: a reader
     * would meet half of another client's update. So the reply is copied here, under the lock.
     */
    private static MongoBackend oneAtATime(MongoBackend backend, Runnable commit, Options options) {
        Object lock = new Object();
        return (MongoBackend) Proxy.newProxyInstance(
            MongoBackend.class.getClassLoader(),
            new Class<?>[] {MongoBackend.class},
            (proxy, method, args) -> {
                if (args != null && args[0] instanceof MongoMessage message) {
                    refuseChangeStream(message.getDocument());
                    if (options.durableOnly()) {
                        refuseUndurable(message.getDocument());
                    }
                }
                synchronized (lock) {
                    try {
                        Document command =
                            options.like() != null && args != null && args[0] instanceof MongoMessage message
                                ? message.getDocument()
                                : null;
                        if (command != null) {
                            FerretDb.before(backend, (MongoMessage) args[0], options.like().equals("nothing"));
                        }
                        Object result = method.invoke(backend, args);
                        if (result instanceof Document reply) {
                            Document copy = reply.cloneDeeply();
                            if (command != null) {
                                FerretDb.after(command, copy);
                            }
                            return copy;
                        }
                        return result;
                    } catch (InvocationTargetException e) {
                        throw withCode(e.getCause());
                    } finally {
                        commit.run();
                    }
                }
            });
    }

    /** Refuses a write that is acknowledged before it lies in the journals of a majority. */
    private static void refuseUndurable(Document command) {
        boolean writes = List.of("insert", "update", "delete", "findAndModify", "renameCollection").stream()
            .anyMatch(command::containsKey);
        boolean isDurable = command.get("writeConcern") instanceof Document concern
            && "majority".equals(concern.get("w"))
            && Boolean.TRUE.equals(concern.get("j"));
        if (writes && !isDurable) {
            throw new MongoServerError(79, "the write concern is " + command.get("writeConcern"));
        }
    }

    /** What FerretDB 1.24 over SQLite does otherwise, as far as a node meets it. */
    private static final class FerretDb {

        static void before(MongoBackend backend, MongoMessage message, boolean guardsNothing) {
            Document command = message.getDocument();
            if (command.containsKey("renameCollection") && Boolean.TRUE.equals(command.get("dropTarget"))) {
                throw new MongoServerError(238, "NotImplemented", "support for field \"dropTarget\" is not implemented yet");
            }
            if (!(command.get("createIndexes") instanceof String collection)) {
                return;
            }
            var wanted = (List<?>) command.get("indexes");
            Document list = new Document("listIndexes", collection).append("$db", command.get("$db"));
            long existing = 0;
            try {
                Document reply = backend.handleMessage(
                    new MongoMessage(message.getChannel(), message.getHeader(), list));
                var present = (List<?>) ((Document) reply.get("cursor")).get("firstBatch");
                existing = wanted.stream()
                    .map(index -> ((Document) index).get("key"))
                    .filter(key -> present.stream().anyMatch(index -> key.equals(((Document) index).get("key"))))
                    .count();
            } catch (RuntimeException e) {
                // there is no such collection yet
            }
            if (existing > 1) {
                throw new MongoServerError(1, "InternalError", "slice bounds out of range");
            }
            for (Object index : wanted) {
                if (((Document) index).get("key") instanceof Document key
                        && (key.containsKey("versions") || guardsNothing)) {
                    ((Document) index).remove("unique");
                }
            }
        }

        static void after(Document command, Document reply) {
            if (command.containsKey("update") && reply.get("writeErrors") instanceof List<?> errors) {
                for (Object error : errors) {
                    ((Document) error).put("code", 1);
                    ((Document) error).put("errmsg", "constraint failed: UNIQUE constraint failed (2067)");
                }
            }
            if (command.containsKey("listIndexes") && reply.get("cursor") instanceof Document cursor) {
                for (Object index : (List<?>) cursor.get("firstBatch")) {
                    if (((Document) index).get("key") instanceof Document key
                            && (key.containsKey("versions") || key.containsKey("version"))) {
                        ((Document) index).put("unique", true);
                    }
                }
            }
        }
    }

    /** Answers as a mongod without a replica set does; the library's own answer has no error code. */
    private static void refuseChangeStream(Document command) {
        if (command.get("pipeline") instanceof List<?> stages
                && !stages.isEmpty()
                && stages.get(0) instanceof Document stage
                && stage.containsKey("$changeStream")) {
            throw new MongoServerError(40573, "The $changeStream stage is only supported on replica sets");
        }
    }

    /** Every error of a mongod has a code, and the Rust driver cannot read one without; the library leaves it out of some. */
    private static Throwable withCode(Throwable error) {
        if (error instanceof MongoServerError || !(error instanceof RuntimeException)) {
            return error;
        }
        String message = String.valueOf(error.getMessage());
        return message.equals("ns not found")
            ? new MongoServerError(26, "NamespaceNotFound", message)
            : new MongoServerError(8, "UnknownError", message, error);
    }

    private static IllegalStateException fail(int status, String message) {
        System.err.println("MongoServer: " + message);
        System.exit(status);
        return new IllegalStateException("not reached");
    }
}
