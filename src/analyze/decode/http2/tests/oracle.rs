//! Traffic of h2's own client and server, recorded as it goes by.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::*;
use crate::analyze::transaction::{Completeness, Outcome};

type Log = Arc<Mutex<Vec<(Direction, Vec<u8>)>>>;

/// Notes what is written to one end.
struct Recorder {
    inner: DuplexStream,
    way: Direction,
    log: Log,
}

impl AsyncRead for Recorder {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Recorder {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = result {
            self.log.lock().unwrap().push((self.way, bytes[..written].to_vec()));
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// What one stream is to carry.
#[derive(Clone, Debug)]
pub struct Exchange {
    method: &'static str,
    path: String,
    request: Vec<(&'static str, String)>,
    request_body: usize,
    status: u16,
    response: Vec<(&'static str, String)>,
    response_body: usize,
    trailers: Option<Vec<(&'static str, String)>>,
}

const NAMES: [&str; 8] =
    ["accept", "x-request-id", "cookie", "te", "x-b", "x-c", "user-agent", "traceparent"];

fn headers() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let name = proptest::sample::select(NAMES.to_vec());
    let value = prop_oneof![
        proptest::sample::select(vec!["a", "b", "trailers", ""]).prop_map(str::to_owned),
        "[ -~]{0,40}".prop_map(|text| text.trim().to_owned()),
    ];
    proptest::collection::btree_map(name, value, 0..6).prop_map(|map| {
        map.into_iter()
            .map(|(n, v)| (n, if n == "te" { "trailers".to_owned() } else { v }))
            .collect()
    })
}

pub fn exchanges(most: usize) -> impl Strategy<Value = Vec<Exchange>> {
    let exchange = (
        proptest::sample::select(vec!["GET", "POST", "PUT", "HEAD"]),
        "/[a-z]{0,6}(/[0-9]{1,3})?(\\?[a-z]=[a-z]{0,9})?",
        headers(),
        prop_oneof![Just(0usize), 1usize..100, 1000usize..40_000],
        proptest::sample::select(vec![200u16, 201, 204, 302, 404, 500, 503]),
        headers(),
        prop_oneof![Just(0usize), 1usize..100, 1000usize..40_000],
        proptest::option::of(headers()),
    );
    // h2 refuses bodies where HTTP has none.
    let bodiless = |method: &str, status: u16| method == "HEAD" || status == 204;
    let exchange = exchange.prop_map(move |e| Exchange {
        method: e.0,
        path: e.1,
        request: e.2,
        request_body: e.3,
        status: e.4,
        response: e.5,
        response_body: if bodiless(e.0, e.4) { 0 } else { e.6 },
        trailers: e.7.filter(|t| !t.is_empty() && !bodiless(e.0, e.4)),
    });
    proptest::collection::vec(exchange, 1..most)
}

fn map(fields: &[(&'static str, String)]) -> HeaderMap {
    let name = HeaderName::from_static;
    fields.iter().map(|(n, v)| (name(n), HeaderValue::from_str(v).unwrap())).collect()
}

/// Has h2 carry the exchanges, all at once, and returns the bytes written.
pub fn record(exchanges: &[Exchange], table: u32) -> Vec<(Direction, Vec<u8>)> {
    let log: Log = Arc::default();
    let (client, server) = tokio::io::duplex(1 << 16);
    let client = Recorder { inner: client, way: UP, log: log.clone() };
    let server = Recorder { inner: server, way: DOWN, log: log.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let served = exchanges.to_vec();
    runtime.block_on(async move {
        let server = tokio::spawn(serve(server, served, table));
        request(client, exchanges, table).await;
        server.await.unwrap();
    });
    std::mem::take(&mut *log.lock().unwrap())
}

/// More than all bodies of a test together.
const WINDOW: u32 = 1 << 24;

async fn request(io: Recorder, exchanges: &[Exchange], table: u32) {
    let mut builder = h2::client::Builder::new();
    builder.header_table_size(table).max_frame_size(20_000);
    // Bodies are read one after the other: none may block another.
    builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
    let (mut send, connection) = builder.handshake::<_, Bytes>(io).await.unwrap();
    let driver = tokio::spawn(async move {
        let _ = connection.await;
    });
    let mut waiting = Vec::new();
    for (nth, exchange) in exchanges.iter().enumerate() {
        let uri = format!("http://host.example{}", exchange.path);
        let mut request = Request::builder().method(exchange.method).uri(uri).body(()).unwrap();
        *request.headers_mut() = map(&exchange.request);
        request.headers_mut().insert("x-nth", nth.into());
        std::future::poll_fn(|cx| send.poll_ready(cx)).await.unwrap();
        let ends = exchange.request_body == 0;
        let (response, mut body) = send.send_request(request, ends).unwrap();
        if !ends {
            let bytes = Bytes::from(vec![nth as u8; exchange.request_body]);
            body.send_data(bytes, true).unwrap();
        }
        waiting.push((response, body));
    }
    for (response, _body) in waiting {
        let mut body = response.await.unwrap().into_body();
        while let Some(data) = body.data().await {
            let length = data.unwrap().len();
            body.flow_control().release_capacity(length).unwrap();
        }
        body.trailers().await.unwrap();
    }
    drop(send);
    driver.await.unwrap();
}

async fn serve(io: Recorder, exchanges: Vec<Exchange>, table: u32) {
    let mut builder = h2::server::Builder::new();
    builder.header_table_size(table);
    builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
    let mut connection = builder.handshake::<_, Bytes>(io).await.unwrap();
    while let Some(accepted) = connection.accept().await {
        let (request, mut respond) = accepted.unwrap();
        let nth: usize = request.headers()["x-nth"].to_str().unwrap().parse().unwrap();
        let exchange = exchanges[nth].clone();
        tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(data) = body.data().await {
                let length = data.unwrap().len();
                body.flow_control().release_capacity(length).unwrap();
            }
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::from_u16(exchange.status).unwrap();
            *response.headers_mut() = map(&exchange.response);
            let empty = exchange.response_body == 0;
            let ends = empty && exchange.trailers.is_none();
            let mut stream = respond.send_response(response, ends).unwrap();
            if !empty {
                let bytes = Bytes::from(vec![1; exchange.response_body]);
                stream.send_data(bytes, exchange.trailers.is_none()).unwrap();
            }
            if let Some(trailers) = &exchange.trailers {
                stream.send_trailers(map(trailers)).unwrap();
            }
        });
    }
}

/// Cuts recorded writes at each of `cuts` in turn, over and over.
pub fn split(log: &[(Direction, Vec<u8>)], cuts: &[usize]) -> Vec<Input> {
    let mut cuts = cuts.iter().cycle();
    let mut inputs = Vec::new();
    for (way, bytes) in log {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            inputs.push(Input::Bytes(*way, piece.to_vec()));
            rest = after;
        }
    }
    inputs
}

fn sorted(fields: Vec<(String, Option<String>)>) -> Vec<(String, Option<String>)> {
    let mut fields = fields;
    fields.sort();
    fields
}

fn owned(fields: &[(&'static str, String)]) -> Vec<(String, Option<String>)> {
    fields.iter().map(|(n, v)| ((*n).to_owned(), Some(v.clone()))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What h2 sent is what is found, however its bytes are split.
    #[test]
    fn h2_traffic_is_decoded(
        exchanges in exchanges(12),
        cuts in proptest::collection::vec(1usize..3000, 1..20),
        table in proptest::sample::select(vec![0u32, 100, 4096, 65_536]),
    ) {
        let log = record(&exchanges, table);
        let wants = Wants { headers: true, conformance: true, log: false, bodies: false, pauses: false };
        let inputs = split(&log, &cuts);
        let output = decode(&inputs, [false; 2], &Limits::default(), wants);
        prop_assert_eq!(&output.findings, &[]);
        prop_assert_eq!(&output.anomalies, &[]);
        prop_assert_eq!(output.transactions.len(), exchanges.len());
        for finished in &output.transactions {
            let t = &finished.transaction;
            let request = t.request.as_ref().unwrap();
            let response = t.response.as_ref().unwrap();
            let nth: usize = std::str::from_utf8(request.head.value("x-nth").unwrap())
                .unwrap().parse().unwrap();
            let exchange = &exchanges[nth];
            prop_assert_eq!(text(request, request.method).unwrap(), exchange.method);
            prop_assert_eq!(text(request, request.path).unwrap(), exchange.path.as_str());
            prop_assert_eq!(text(request, request.authority).unwrap(), "host.example");
            prop_assert_eq!(text(request, request.scheme).unwrap(), "http");
            let mut expected = owned(&exchange.request);
            expected.push(("x-nth".to_owned(), Some(nth.to_string())));
            prop_assert_eq!(sorted(fields(&request.head)), sorted(expected));
            prop_assert_eq!(request.body_bytes, exchange.request_body as u64);
            prop_assert_eq!(response.status, Some(exchange.status));
            prop_assert_eq!(sorted(fields(&response.head)), sorted(owned(&exchange.response)));
            let trailers = exchange.trailers.clone().unwrap_or_default();
            prop_assert_eq!(sorted(fields(&response.trailers)), sorted(owned(&trailers)));
            prop_assert_eq!(response.body_bytes, exchange.response_body as u64);
            prop_assert_eq!(t.completeness, Completeness::Complete);
            prop_assert_eq!(t.outcome, Outcome::of_status(exchange.status));
            prop_assert!(request.start.is_some() && request.start <= request.end);
            prop_assert!(response.start.is_some() && response.start <= response.end);
        }
    }
}
