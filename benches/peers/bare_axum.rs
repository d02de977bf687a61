//! The least that axum can do: one handler that returns the bytes of a file. `scripts/bench-api` holds the API against it.
//!
//!     bare_axum ADDRESS FILE

use std::net::SocketAddr;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use bytes::Bytes;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (address, file) = arguments.next().zip(arguments.next()).expect("usage: bare_axum ADDRESS FILE");
    let body = Bytes::from(std::fs::read(file).expect("a readable file"));
    let answer = move || {
        let body = body.clone();
        async move { ([(CONTENT_TYPE, "application/json; charset=utf-8")], body) }
    };
    let listener =
        tokio::net::TcpListener::bind(address.parse::<SocketAddr>().expect("an address")).await.expect("a free port");
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let router = Router::new().fallback(get(answer.clone()));
        tokio::spawn(async move {
            let service = hyper_util::service::TowerToHyperService::new(router);
            let connection = hyper::server::conn::http1::Builder::new();
            _ = connection.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await;
        });
    }
}
