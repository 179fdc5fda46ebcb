//! The container runtime interface: gRPC over a unix socket, the three calls
//! and the fields that names need (`runtime.v1` of Kubernetes' cri-api).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::{Buf, Bytes};
use h2::client::SendRequest;
use prost::Message;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// A runtime that does not answer for so long is not there.
const PATIENCE: Duration = Duration::from_secs(5);

/// Largest answer, as kubelets have it.
const MAX_ANSWER: usize = 16 << 20;

/// gRPC puts a flag and a length before each message.
const PREFIX_BYTES: usize = 5;

/// What an answer is used for is small; it must not stop for each 64 KiB.
const WINDOW: u32 = 1 << 20;

#[derive(Clone, PartialEq, Message)]
pub struct Nothing {}

#[derive(Clone, PartialEq, Message)]
pub struct Metadata {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub uid: String,
    #[prost(string, tag = "3")]
    pub namespace: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Sandbox {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<Metadata>,
    /// 0: ready.
    #[prost(int32, tag = "3")]
    pub state: i32,
    /// Unix nanoseconds.
    #[prost(int64, tag = "4")]
    pub created_at: i64,
    #[prost(btree_map = "string, string", tag = "5")]
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Sandboxes {
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<Sandbox>,
}

#[derive(Clone, PartialEq, Message)]
pub struct StatusRequest {
    #[prost(string, tag = "1")]
    pub id: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Ip {
    #[prost(string, tag = "1")]
    pub ip: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Network {
    #[prost(string, tag = "1")]
    pub ip: String,
    #[prost(message, repeated, tag = "2")]
    pub more: Vec<Ip>,
}

#[derive(Clone, PartialEq, Message)]
pub struct NamespaceOption {
    /// 2: the node's.
    #[prost(int32, tag = "1")]
    pub network: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Namespaces {
    #[prost(message, optional, tag = "2")]
    pub options: Option<NamespaceOption>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Linux {
    #[prost(message, optional, tag = "1")]
    pub namespaces: Option<Namespaces>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(message, optional, tag = "5")]
    pub network: Option<Network>,
    #[prost(message, optional, tag = "6")]
    pub linux: Option<Linux>,
}

#[derive(Clone, PartialEq, Message)]
pub struct StatusAnswer {
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ContainerMetadata {
    #[prost(string, tag = "1")]
    pub name: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Container {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(string, tag = "2")]
    pub sandbox: String,
    #[prost(message, optional, tag = "3")]
    pub metadata: Option<ContainerMetadata>,
    /// Unix nanoseconds.
    #[prost(int64, tag = "7")]
    pub created_at: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Containers {
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<Container>,
}

/// A connection to a runtime.
pub struct Client {
    sender: SendRequest<Bytes>,
}

impl Client {
    /// Connects to a socket.
    pub async fn connect(socket: &Path) -> Result<Self, String> {
        let open = async {
            let stream = UnixStream::connect(socket).await.map_err(|error| error.to_string())?;
            let mut builder = h2::client::Builder::new();
            builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
            builder.handshake(stream).await.map_err(|error| error.to_string())
        };
        let (sender, connection) = in_time(open).await?;
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// All sandboxes.
    pub async fn sandboxes(&self) -> Result<Vec<Sandbox>, String> {
        let answer: Sandboxes = self.call("ListPodSandbox", &Nothing {}).await?;
        Ok(answer.items)
    }

    /// All containers, those that are not running included.
    pub async fn containers(&self) -> Result<Vec<Container>, String> {
        let answer: Containers = self.call("ListContainers", &Nothing {}).await?;
        Ok(answer.items)
    }

    /// A sandbox's addresses and namespaces.
    pub async fn status(&self, id: &str) -> Result<Status, String> {
        let request = StatusRequest { id: id.to_owned() };
        let answer: StatusAnswer = self.call("PodSandboxStatus", &request).await?;
        Ok(answer.status.unwrap_or_default())
    }

    async fn call<R: Message + Default>(
        &self,
        method: &str,
        request: &impl Message,
    ) -> Result<R, String> {
        let exchange = async {
            let answer = self.exchange(method, request).await?;
            R::decode(answer).map_err(|error| format!("not a message: {error}"))
        };
        in_time(exchange).await.map_err(|error| format!("{method}: {error}"))
    }

    async fn exchange(&self, method: &str, request: &impl Message) -> Result<Bytes, String> {
        let said = |error: h2::Error| error.to_string();
        let head =
            http::Request::post(format!("http://localhost/runtime.v1.RuntimeService/{method}"))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(())
                .map_err(|error| error.to_string())?;
        let mut sender = self.sender.clone().ready().await.map_err(said)?;
        let (answer, mut stream) = sender.send_request(head, false).map_err(said)?;
        let message = request.encode_to_vec();
        let mut framed = vec![0];
        framed.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
        framed.extend(message);
        stream.send_data(framed.into(), true).map_err(said)?;
        let answer = answer.await.map_err(said)?;
        // An error alone comes without a body.
        succeeded(answer.headers(), false)?;
        if answer.status() != http::StatusCode::OK {
            return Err(format!("HTTP status {}", answer.status()));
        }
        let mut body = answer.into_body();
        let mut bytes = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.map_err(said)?;
            if bytes.len() + data.len() > MAX_ANSWER + PREFIX_BYTES {
                return Err(format!("an answer of more than {MAX_ANSWER} bytes"));
            }
            bytes.extend_from_slice(&data);
            body.flow_control().release_capacity(data.len()).map_err(said)?;
        }
        let trailers = body.trailers().await.map_err(said)?.unwrap_or_default();
        succeeded(&trailers, true)?;
        message_of(bytes.into())
    }
}

/// The only message of an answer.
fn message_of(mut bytes: Bytes) -> Result<Bytes, String> {
    if bytes.len() < PREFIX_BYTES {
        return Err("no message".to_owned());
    }
    let (compressed, length) = (bytes.get_u8(), bytes.get_u32());
    if compressed != 0 || length as usize != bytes.len() {
        return Err("a message that is compressed or of another length".to_owned());
    }
    Ok(bytes)
}

/// Whether `grpc-status` says so; `needed` in trailers.
fn succeeded(headers: &http::HeaderMap, needed: bool) -> Result<(), String> {
    let text = |name: &str| {
        headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    match text("grpc-status").as_deref() {
        Some("0") => Ok(()),
        None if !needed => Ok(()),
        None => Err("cut off".to_owned()),
        Some(code) => {
            Err(format!("gRPC status {code}: {}", text("grpc-message").unwrap_or_default()))
        }
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}
