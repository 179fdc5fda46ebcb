//! What the two directions of a connection tell each other.

use std::collections::VecDeque;

/// Requests that wait for a response at most: more are not sent ahead by anyone.
const REQUESTS: usize = 1024;

/// Requests whose responses are framed in their own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The response has no body.
    Head,
    /// A response of success begins a tunnel.
    Connect,
    /// Any other.
    Other,
}

/// What is known of a connection.
#[derive(Debug, Default)]
pub struct Shared {
    /// Requests without a response, oldest first.
    requests: VecDeque<Method>,
    /// Responses that came before their requests, as the capture has it.
    early: usize,
    /// Messages were missed: which response answers which request is not known any more.
    doubt: bool,
    /// The side that is the client, once HTTP/2 is spoken.
    pub http2: Option<usize>,
    /// The highest stream that was opened.
    pub stream: u32,
}

impl Shared {
    /// A request's head is over.
    pub fn request(&mut self, method: Method) {
        if self.early > 0 {
            self.early -= 1;
        } else if self.requests.len() < REQUESTS {
            self.requests.push_back(method);
        } else {
            self.lost();
        }
    }

    /// A final response's head is over; what it answers, where that is certain.
    pub fn response(&mut self) -> Option<Method> {
        if self.doubt {
            return None;
        }
        let method = self.requests.pop_front();
        if method.is_none() {
            self.early += 1;
        }
        method
    }

    /// Messages may have been missed.
    pub fn lost(&mut self) {
        self.doubt = true;
        self.requests.clear();
        self.early = 0;
    }
}
