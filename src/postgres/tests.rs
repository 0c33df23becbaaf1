//! Sessions, migrations, errors, outages, TLS; against servers of the tests.

use super::throwaway::{self, Server, Setup};
use super::*;

#[tokio::test]
async fn a_session_is_durable_and_at_home_in_its_schema() {
    let database = Database::open(throwaway::options("home")).await.unwrap();
    database.migrate(&[]).await.unwrap();
    for setting in ["search_path", "synchronous_commit", "tcp_keepalives_idle"] {
        let connection = database.get().await.unwrap();
        let row = connection.query_one("SELECT current_setting($1)", &[&setting]).await.unwrap();
        let expected = match setting {
            "search_path" => database.schema(),
            "synchronous_commit" => "on",
            _ => "5",
        };
        assert_eq!(row.get::<_, &str>(0), expected, "{setting}");
    }
    let (client, task) = database.connect_alone().await.unwrap();
    let row = client.query_one("SELECT current_schema()::text", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), database.schema());
    drop(client);
    task.await.unwrap();
}

const FIRST: Migration = Migration { part: "a", version: 1, sql: "CREATE TABLE one (n int PRIMARY KEY)" };
const SECOND: Migration = Migration { part: "a", version: 2, sql: "ALTER TABLE one ADD s text NOT NULL" };

#[tokio::test]
async fn migrations_are_applied_once_and_in_order_by_many_at_once() {
    let options = throwaway::options("migrations");
    let mut starting = Vec::new();
    for _ in 0..4 {
        let options = options.clone();
        starting.push(tokio::spawn(async move {
            let database = Database::open(options).await.unwrap();
            database.migrate(&[SECOND, Migration { part: "b", version: 1, ..SECOND }, FIRST]).await
        }));
    }
    // Part `b` alters the same table a second time, which fails, and leaves part `a` as it is.
    for start in starting {
        assert!(matches!(start.await.unwrap(), Err(Error::Refused(_))));
    }
    let database = Database::open(options).await.unwrap();
    database.migrate(&[FIRST, SECOND]).await.unwrap();
    let connection = database.get().await.unwrap();
    let rows = connection.query("SELECT part, version FROM migrations ORDER BY 2", &[]).await.unwrap();
    let rows: Vec<(String, i32)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(rows, [("a".to_owned(), 1), ("a".to_owned(), 2)]);
}

#[tokio::test]
async fn tables_of_another_program_are_refused() {
    let database = Database::open(throwaway::options("refused")).await.unwrap();
    database.migrate(&[FIRST, SECOND]).await.unwrap();
    let newer = database.migrate(&[FIRST]).await.unwrap_err();
    assert!(!newer.retryable() && newer.to_string().contains("version 2"), "{newer}");
    let changed = [Migration { sql: "CREATE TABLE other ()", ..FIRST }, SECOND];
    let changed = database.migrate(&changed).await.unwrap_err();
    assert!(changed.to_string().contains("another migration 1"), "{changed}");
    let gap = database.migrate(&[FIRST, Migration { version: 3, ..SECOND }]).await.unwrap_err();
    assert!(matches!(gap, Error::Mismatch(_)), "{gap}");
}

/// Everything that an error can be made to say.
fn all_of(error: &Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text.push_str(&format!(" {next} {next:?}"));
        cause = next.source();
    }
    text
}

#[tokio::test]
async fn errors_tell_no_values() {
    let database = Database::open(throwaway::options("values")).await.unwrap();
    database.migrate(&[FIRST, SECOND]).await.unwrap();
    let connection = database.get().await.unwrap();
    let insert = "INSERT INTO one (n, s) VALUES (4711, 'wang.li@example.com')";
    connection.batch_execute(insert).await.unwrap();
    let twice = Error::from(connection.batch_execute(insert).await.unwrap_err());
    let said = all_of(&twice);
    assert!(said.contains("23505") && said.contains("one_pkey"), "{said}");
    let broken = "SELECT 'wang.li@example.com'::int";
    let broken = Error::from(connection.batch_execute(broken).await.unwrap_err());
    for said in [said, all_of(&broken)] {
        assert!(!said.contains("4711") && !said.contains("wang"), "{said}");
    }
}

#[tokio::test]
async fn no_password_is_told() {
    let url = "postgres://me:Geheim77@127.0.0.1:1/x?sslmode=disable";
    let options = Options { patience: Duration::from_secs(2), ..Options::new(url) };
    let refused = Database::open(options.clone()).await.unwrap_err();
    assert!(refused.retryable());
    let wrong = Options::new("postgres://me:Geheim77@[::1/x?sslmode=perhaps");
    let wrong = Database::open(wrong).await.unwrap_err();
    assert!(!wrong.retryable());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "Geheim78\n").unwrap();
    let filed = Options { password_file: Some(file.clone()), ..options.clone() };
    assert_eq!(filed.config().unwrap().get_password(), Some(&b"Geheim78"[..]));
    let missing = Options { password_file: Some(file.with_extension("not")), ..options.clone() };
    assert!(matches!(Database::open(missing).await, Err(Error::Options(_))));
    let schema = Options { schema: "x; DROP".to_owned(), ..options.clone() };
    assert!(matches!(Database::open(schema).await, Err(Error::Options(_))));
    for said in [format!("{options:?} {filed:?}"), all_of(&refused), all_of(&wrong)] {
        assert!(!said.contains("Geheim"), "{said}");
    }
}

#[tokio::test]
async fn what_an_operator_can_mend_is_said() {
    let options = throwaway::options("mend");
    let url = options.url.replace("/postgres?", "/nosuchdatabase?");
    // A server named by `CUSTODY_TEST_POSTGRES` may have another database.
    if options.url != url {
        let missing = Database::open(Options { url, ..options }).await.unwrap_err();
        assert!(!missing.retryable());
        assert!(missing.to_string().ends_with("3D000: there is no such database"), "{missing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_told_in_time_and_is_over_when_it_is_over() {
    let server = Arc::new(Server::new(Setup::default()));
    let options = Options { patience: Duration::from_secs(3), ..server.options("outage") };
    let database = Database::open(options).await.unwrap();
    database.migrate(&[FIRST]).await.unwrap();
    let held = database.get().await.unwrap();
    for outage in [Server::stop, Server::kill] {
        outage(&server);
        assert!(database.get().await.unwrap_err().retryable());
        assert!(database.within(held.batch_execute("SELECT 1")).await.unwrap_err().retryable());
        server.start();
        let connection = database.get().await.unwrap();
        database.within(connection.batch_execute("INSERT INTO one VALUES (1)")).await.unwrap();
        database.within(connection.batch_execute("DELETE FROM one")).await.unwrap();
    }
    drop(held);
    // Nothing answers and nothing says so.
    let idle = database.get().await.unwrap();
    server.pause();
    let watch = crate::clock::Stopwatch::start();
    let unanswered = database.within(idle.batch_execute("INSERT INTO one VALUES (2)")).await.unwrap_err();
    assert!(matches!(unanswered, Error::Unanswered { .. }), "{unanswered}");
    drop(idle);
    assert!(database.get().await.unwrap_err().retryable());
    assert!(database.connect_alone().await.unwrap_err().retryable());
    assert!(watch.elapsed() < Duration::from_secs(20), "{:?}", watch.elapsed());
    server.resume();
    drop(database.get().await.unwrap());
}

#[tokio::test]
async fn a_server_is_spoken_with_if_somebody_vouches_for_it() {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let pem = made.cert.pem();
    let files = vec![
        ("server.crt".to_owned(), pem.clone().into_bytes()),
        ("server.key".to_owned(), made.signing_key.serialize_pem().into_bytes()),
    ];
    let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let settings = vec![
        setting("ssl", "on"),
        setting("ssl_cert_file", "DIR/server.crt"),
        setting("ssl_key_file", "DIR/server.key"),
    ];
    let server = Server::new(Setup { settings, files, ..Setup::default() });
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, pem).unwrap();
    let with = |mode: &str, ca_file: Option<PathBuf>| {
        let options = server.options("tls");
        Options { url: options.url.replace("disable", mode), ca_file, ..options }
    };
    for mode in ["require", "prefer", "verify-full"] {
        let database = Database::open(with(mode, Some(ca.clone()))).await.unwrap();
        let select = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let row = database.get().await.unwrap().query_one(select, &[]).await.unwrap();
        assert!(row.get::<_, bool>(0), "{mode}");
        let (client, _) = database.connect_alone().await.unwrap();
        assert!(client.query_one(select, &[]).await.unwrap().get::<_, bool>(0));
        let unknown = Database::open(with(mode, None)).await.unwrap_err();
        assert!(all_of(&unknown).contains("UnknownIssuer"), "{}", all_of(&unknown));
    }
    Database::open(with("disable", None)).await.unwrap();
    // A server without TLS is no server where TLS is asked for.
    let plain = throwaway::options("plain");
    if plain.url.contains("sslmode=disable") {
        let url = plain.url.replace("disable", "require");
        assert!(Database::open(Options { url, ca_file: Some(ca.clone()), ..plain.clone() }).await.is_err());
        let url = plain.url.replace("disable", "prefer");
        Database::open(Options { url, ca_file: Some(ca), ..plain }).await.unwrap();
    }
}
