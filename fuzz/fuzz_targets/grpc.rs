//! gRPC calls: heads by choice, any bodies and holes in them.
//!
//! Input: content type, grpc-status, grpc-timeout, path and body encoding as
//! strings with their lengths; then body pieces: an operation (bit 0 the way,
//! bit 1 a gap), two bytes of length, data.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perisco::analyze::decode::Direction;
use perisco::analyze::decode::grpc::Call;
use perisco::analyze::transaction::{Message, Transaction};
use perisco_fuzz::bytes::Bytes;
use perisco_fuzz::check;

fn message(fields: &[(&[u8], &[u8])], path: Option<&[u8]>) -> Message {
    let mut message = Message { packet: 1, ..Message::default() };
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        message.head.push(name, value);
    }
    message.path = path.map(|path| message.head.store(path));
    message
}

fuzz_target!(|input: &[u8]| {
    let mut input = Bytes(input);
    let [kind, status, timeout, path, encoding] = std::array::from_fn(|_| input.string());
    let fields: [(&[u8], &[u8]); 3] =
        [(b"content-type", kind), (b"grpc-timeout", timeout), (b"grpc-encoding", encoding)];
    let mut request = message(&fields, Some(path));
    request.method = Some(request.head.store(b"POST"));
    let mut response = message(&[(b"content-type", kind), (b"grpc-encoding", encoding)], None);
    response.status = Some(200);
    if !status.is_empty() {
        response.trailers.push(b"grpc-status", status);
        response.trailers.push(b"grpc-message", path);
    }
    let Some(mut call) = Call::detect(&request).or_else(|| Call::detect(&response)) else { return };
    while !input.is_empty() {
        let op = input.u8();
        let len = input.u16();
        let (direction, side) = if op & 1 == 0 {
            (Direction::ToServer, &mut request)
        } else {
            (Direction::ToClient, &mut response)
        };
        if op & 2 == 0 {
            let data = input.take(usize::from(len));
            side.body_bytes += data.len() as u64;
            call.data(direction, data);
        } else {
            let len = u64::from(len.max(1)) << (op >> 2 & 15);
            side.body_bytes += len;
            call.gap(direction, len);
        }
    }
    let mut transaction = Transaction::new("http/2");
    transaction.request = Some(request);
    transaction.response = Some(response);
    call.finish(&mut transaction);
    let grpc = transaction.grpc.as_ref().expect("a call has its attributes");
    if status.is_empty() {
        assert_ne!(grpc.status_name(), "OK", "a status that was not seen");
    }
    check::transaction(&transaction, 0);
});
