//! What only a server can do to a store: another machine's writer, a session left in a transaction, passwords and certificates.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use usage_rollup::model::Instant;
use usage_rollup::store::{
    Input, InputKind, InputState, Lease, LogCommit, NewApiKey, Role, Store, StoreError, StoreUrl,
};

use super::proxy::{Commit, Proxy};
use super::stores::{Database, On, PASSWORD, server};
use super::support::Binary;

const ANSWERS_TAKE: Duration = Duration::from_millis(3);
const NOW: Instant = Instant::from_seconds(1_770_000_000);

async fn open(url: &str) -> Result<Store, StoreError> {
    Store::open(&StoreUrl::parse(url, "unused".as_ref()).unwrap()).await
}

/// Takes the lease as a process on a machine of its own does: no other one sees its lock file.
async fn lease(store: &Store) -> Lease {
    let lock = tempfile::NamedTempFile::new().unwrap();
    store.lease(lock.path(), "test", NOW, Duration::ZERO).await.unwrap()
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_on_another_machine_fences_the_one_before() {
    let database = Database::new(On::Postgres);
    let (one, other) = (open(&database.url()).await.unwrap(), open(&database.url()).await.unwrap());
    let first = lease(&one).await;
    one.commit_log(&first, &LogCommit::default(), NOW).await.unwrap();
    let second = lease(&other).await;
    let lost = one.commit_log(&first, &LogCommit::default(), NOW).await.unwrap_err();
    assert!(matches!(lost, StoreError::LeaseLost { ours: 1, found: 2 }), "{lost}");
    other.commit_log(&second, &LogCommit::default(), NOW).await.unwrap();
    assert_eq!(server().sql(database.name(), "SELECT epoch, commits FROM lease"), "2|2\n");
}

/// Polls a future so many times, with time for an answer in between, and drops it then. What it came to, if it did.
async fn cut_off<T>(mut future: Pin<Box<dyn Future<Output = T> + '_>>, polls: usize) -> Option<T> {
    for _ in 0..polls {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(outcome);
        }
        tokio::time::sleep(2 * ANSWERS_TAKE).await;
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_after_a_commit_was_cut_off_is_there() {
    let database = Database::new(On::Postgres);
    let store = open(&Proxy::start(ANSWERS_TAKE).url(&database)).await.unwrap();
    let lease = lease(&store).await;
    let commits = || server().sql(database.name(), "SELECT commits FROM lease").trim().parse::<i64>().unwrap();
    let mut polls = 0;
    let outcome = loop {
        if let Some(outcome) = cut_off(Box::pin(store.commit_log(&lease, &LogCommit::default(), NOW)), polls).await {
            break outcome;
        }
        // Left in that transaction, the session would keep what is written to itself.
        let id = polls.to_string();
        let key_hash = [u8::try_from(polls).unwrap(); 32];
        let key = NewApiKey { id, name: String::new(), role: Role::SuperUser, scope: None, key_hash, expires_at: None };
        store.create_key(&key, NOW).await.unwrap();
        let keys = server().sql(database.name(), "SELECT count(*) FROM api_keys");
        assert_eq!(
            keys.trim().parse::<usize>().unwrap(),
            polls + 1,
            "cut off after {polls} polls, the next key vanished"
        );
        let before = commits();
        store.commit_log(&lease, &LogCommit::default(), NOW).await.unwrap();
        assert!(commits() > before, "cut off after {polls} polls, the next commit vanished");
        polls += 1;
    };
    outcome.unwrap();
    assert!(polls > 3, "BEGIN, the lease and COMMIT were not all cut off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_nobody_answered_is_looked_up() {
    let database = Database::new(On::Postgres);
    let road = Proxy::start(Duration::ZERO);
    let store = open(&road.url(&database)).await.unwrap();
    let lease = lease(&store).await;
    for (id, commit, is_stored) in [(1, Commit::Unanswered, true), (2, Commit::Lost, false), (3, Commit::Arrives, true)]
    {
        let input = Input {
            id,
            name: id.to_string(),
            kind: InputKind::File,
            state: InputState::Done,
            signature: String::new(),
            next_offset: 0,
            next_line: 1,
            lines: 0,
            accepted: 0,
            rejected: 0,
        };
        road.let_next_commit(commit);
        let committed = store.commit_log(&lease, &LogCommit { inputs: vec![input], ..LogCommit::default() }, NOW).await;
        assert_eq!(committed.is_ok(), is_stored, "{commit:?}: {committed:?}");
        let found = store.last_reading(&id.to_string(), InputKind::File, "").await.unwrap();
        assert_eq!(found.is_some(), is_stored, "{commit:?}");
    }
    assert_eq!(server().sql(database.name(), "SELECT epoch, commits FROM lease"), "1|2\n");
}

#[test]
fn the_password_comes_from_a_file_or_the_environment_and_is_never_shown() {
    let database = Database::new(On::Postgres);
    let port = server().port;
    let without = format!("postgresql://tests@localhost:{port}/{}", database.name());
    let binary = || Binary::new(On::Sqlite).with("USAGE_ROLLUP__STORE__URL", &without);

    let from_environment = binary().with("PGPASSWORD", PASSWORD);
    from_environment.ok(&["keys", "list"]);
    let from_file = binary().with("USAGE_ROLLUP__STORE__PASSWORD_FILE", "secret");
    std::fs::write(from_file.path("secret"), format!("{PASSWORD}\n")).unwrap();
    from_file.ok(&["keys", "list"]);

    let refused = binary().with("PGPASSWORD", "wr0ng").fails(1, &["keys", "list"]);
    assert!(refused.contains("password authentication failed"), "{refused}");
    assert!(refused.contains(&without.replace("postgresql://", "")), "it names the server: {refused}");
    let in_url = format!("postgresql://tests:wr0ng@localhost:{port}/{}", database.name());
    let in_url = Binary::new(On::Sqlite).with("USAGE_ROLLUP__STORE__URL", &in_url).with("RUST_LOG", "trace");
    let told = in_url.fails(1, &["keys", "list"]) + &in_url.ok(&["config", "show"]);
    assert!(told.contains("tests:********@localhost"), "{told}");
    assert!(!refused.contains("wr0ng") && !told.contains("wr0ng"), "{refused}\n{told}");
    assert!(!from_file.ok(&["config", "show"]).contains(PASSWORD));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_certificate_is_checked() {
    let database = Database::new(On::Postgres);
    let with = |parameters: String| format!("{}?{parameters}", database.url());
    let ca = server().path("ca.crt").display().to_string();
    let encrypted =
        open(&with(format!("sslmode=verify-full&sslrootcert={ca}&application_name=encrypted"))).await.unwrap();
    encrypted.keys().await.unwrap();
    let used = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                WHERE application_name = 'encrypted'";
    assert_eq!(server().sql(database.name(), used), "t\n");

    let unknown = open(&with("sslmode=verify-full".to_owned())).await.unwrap_err();
    assert!(chain(&unknown).contains("UnknownIssuer"), "{}", chain(&unknown));
    let elsewhere = database.url().replace("localhost", "127.0.0.2");
    let elsewhere = open(&format!("{elsewhere}?sslmode=verify-full&sslrootcert={ca}")).await.unwrap_err();
    assert!(!chain(&elsewhere).is_empty(), "the certificate is another host's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_out_of_reach_at_once() {
    let started = std::time::Instant::now();
    let error = open("postgres://nobody@127.0.0.1:1/nothing").await.unwrap_err();
    assert!(error.is_out_of_reach());
    assert!(chain(&error).contains("postgres://nobody@127.0.0.1:1/nothing: "), "{}", chain(&error));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}
