//! A road to the server, on which answers take their time and connections are lost.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use super::stores::{Database, server};

/// What becomes of the next COMMIT that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Commit {
    Arrives,
    /// It arrives, and nothing comes back: the connection is lost.
    Unanswered,
    /// The connection is lost before it arrives.
    Lost,
}

const LISTENS_EVERY: Duration = Duration::from_millis(20);

/// Listens until the process ends.
pub struct Proxy {
    port: u16,
    next_commit: Arc<AtomicU8>,
    is_silent: Arc<AtomicBool>,
}

impl Proxy {
    /// Each portion of an answer comes so much later.
    pub fn start(delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let next_commit = Arc::new(AtomicU8::new(Commit::Arrives as u8));
        let is_silent = Arc::new(AtomicBool::new(false));
        let of_road = (next_commit.clone(), is_silent.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, there) = (client.unwrap(), TcpStream::connect(("127.0.0.1", server().port)).unwrap());
                let (answers_to, answers) = (client.try_clone().unwrap(), there.try_clone().unwrap());
                let (next_commit, is_silent) = of_road.clone();
                thread::spawn(move || forward(client, there, |bytes| lose(bytes, &next_commit)));
                thread::spawn(move || {
                    forward(answers, answers_to, |_| {
                        thread::sleep(delay);
                        while is_silent.load(Ordering::SeqCst) {
                            thread::sleep(LISTENS_EVERY);
                        }
                        Commit::Arrives
                    });
                });
            }
        });
        Self { port, next_commit, is_silent }
    }

    /// What `store.url` is for a database on this road.
    pub fn url(&self, database: &Database) -> String {
        let direct = format!(":{}/", server().port);
        format!("{}?sslmode=disable", database.url().replace(&direct, &format!(":{}/", self.port)))
    }

    pub fn let_next_commit(&self, be: Commit) {
        self.next_commit.store(be as u8, Ordering::SeqCst);
    }

    /// From now on no answer comes, and no connection is lost: as of a server that hangs.
    pub fn fall_silent(&self) {
        self.is_silent.store(true, Ordering::SeqCst);
    }
}

fn lose(bytes: &[u8], next_commit: &AtomicU8) -> Commit {
    let is_commit = bytes.windows(6).any(|window| window == b"COMMIT");
    let fate = if is_commit { next_commit.swap(Commit::Arrives as u8, Ordering::SeqCst) } else { 0 };
    [Commit::Arrives, Commit::Unanswered, Commit::Lost][usize::from(fate)]
}

/// Passes on what comes, until either end is closed or the connection is to be lost.
fn forward(mut from: TcpStream, mut to: TcpStream, fate_of: impl Fn(&[u8]) -> Commit) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let fate = fate_of(&buffer[..length]);
        if fate == Commit::Unanswered {
            // The client's end first, so that no answer comes through.
            let _ = from.shutdown(Shutdown::Both);
        }
        if fate == Commit::Lost || to.write_all(&buffer[..length]).is_err() || fate == Commit::Unanswered {
            break;
        }
    }
    // The server reads what was sent before it finds the end. Either may be gone already.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Write));
}
