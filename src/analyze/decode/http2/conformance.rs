//! What a real HTTP/2 endpoint would have refused.
//!
//! Feeds the bytes of directions without a gap to the codec of h2, which
//! hyper, tonic and many others are made of. The only place that uses what
//! h2 calls unstable. It checks frames and header blocks, not the order of
//! frames on a stream, which takes an endpoint's own side of the state.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_core::Stream as _;
use h2::Codec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::analyze::decode::http2::frame::PREFACE;
use crate::analyze::decode::{Direction, Sink};

/// Largest frame and table that a peer can allow: what peers agreed on is
/// not what is checked here.
const MAX_FRAME: usize = (1 << 24) - 1;
/// As for frames, a size that no encoder goes beyond.
const MAX_TABLE: usize = 16 << 20;
/// Header bytes that an endpoint takes (h2's own default).
const MAX_HEADER_LIST: usize = 16 << 20;
/// Findings of one direction, after which it is no longer followed.
const FINDINGS: usize = 32;

/// One direction as an endpoint reads it.
pub struct Endpoint {
    direction: Direction,
    codec: Option<Box<Codec<Pipe, Bytes>>>,
    /// Bytes of the preface that are still to come, which the codec does not know.
    preface: usize,
    findings: usize,
}

impl Endpoint {
    /// For a direction that begins with its first byte.
    pub fn new(direction: Direction) -> Self {
        let mut codec = Codec::with_max_recv_frame_size(Pipe::default(), MAX_FRAME);
        codec.set_recv_header_table_size(MAX_TABLE);
        codec.set_max_recv_header_list_size(MAX_HEADER_LIST);
        let preface = if direction == Direction::ToServer { PREFACE.len() } else { 0 };
        Self { direction, codec: Some(Box::new(codec)), preface, findings: 0 }
    }

    /// Bytes are missing: nothing after them can be judged.
    pub fn stop(&mut self) {
        self.codec = None;
    }

    /// Takes the next bytes and reports what is refused.
    pub fn feed(&mut self, bytes: &[u8], packet: u64, out: &mut Sink<'_>) {
        let Some(codec) = &mut self.codec else { return };
        let (skipped, bytes) = bytes.split_at(self.preface.min(bytes.len()));
        self.preface -= skipped.len();
        codec.get_mut().unread.extend_from_slice(bytes);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            match Pin::new(&mut **codec).poll_next(&mut context) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => {
                    out.finding(self.direction, packet, describe(&error));
                    self.findings += 1;
                    // An endpoint closes the connection on anything but a
                    // stream error, so later verdicts mean nothing.
                    let stream = matches!(error, h2::proto::Error::Reset(..));
                    if !stream || self.findings >= FINDINGS {
                        return self.stop();
                    }
                }
                Poll::Ready(None) => return self.stop(),
                Poll::Pending => return,
            }
        }
    }
}

fn describe(error: &h2::proto::Error) -> String {
    use h2::proto::Error;
    match error {
        Error::Reset(stream, reason, _) => {
            let (id, why) = (u32::from(*stream), reason.description());
            format!("stream error {} on stream {id}: {why}", name(*reason))
        }
        Error::GoAway(_, reason, _) => {
            format!("connection error {}: {}", name(*reason), reason.description())
        }
        Error::Io(kind, _) => format!("connection error: {kind}"),
    }
}

fn name(reason: h2::Reason) -> String {
    super::frame::error_name(reason.into())
}

/// Bytes that the codec has not read yet. It may write what it likes.
#[derive(Debug, Default)]
struct Pipe {
    unread: Vec<u8>,
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Poll::Pending;
        }
        let take = buffer.remaining().min(self.unread.len());
        buffer.put_slice(self.unread.get(..take).unwrap_or_default());
        self.unread.drain(..take);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What h2 makes of a direction's bytes, without the preface.
#[cfg(test)]
pub fn frames(bytes: &[u8]) -> Vec<Result<h2::frame::Frame, h2::proto::Error>> {
    let mut codec = Codec::<_, Bytes>::with_max_recv_frame_size(Pipe::default(), MAX_FRAME);
    codec.get_mut().unread.extend_from_slice(bytes);
    let mut context = Context::from_waker(Waker::noop());
    let mut frames = Vec::new();
    while let Poll::Ready(Some(frame)) = Pin::new(&mut codec).poll_next(&mut context) {
        frames.push(frame);
    }
    frames
}
