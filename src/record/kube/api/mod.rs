//! The Kubernetes API: who has which address in the whole cluster. One thread
//! and one connection for each kind of object, see [`watch`].

mod http;
mod objects;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::{Arc, Weak};
use std::thread;

use super::Shared;
use super::types::{Mode, Options, StartError};
use http::Server;
use objects::{NodeObject, PodObject, ServiceObject, SliceObject};

/// Whether it can be asked, where it has to be ([`Mode::Api`]).
pub fn check(options: &Options) -> Result<(), StartError> {
    match server(options) {
        Err(why) if options.mode == Mode::Api => Err(StartError::Api(why)),
        _ => Ok(()),
    }
}

/// The port of the server, if there is one to be asked.
pub fn port(options: &Options) -> Option<u16> {
    server(options).ok().map(|server| server.port())
}

/// Starts to watch where there is a token; without one only [`Mode::Api`] is an error.
pub fn start(options: &Options, node: &str, shared: &Weak<Shared>) -> Result<(), StartError> {
    let server = match server(options) {
        Ok(server) => Arc::new(server),
        Err(why) if options.mode == Mode::Api => return Err(StartError::Api(why)),
        Err(_) => return Ok(()),
    };
    let pods = (!options.cluster_wide).then(|| format!("spec.nodeName={node}"));
    spawn::<PodObject>("kube-pods", &server, shared, pods)?;
    spawn::<ServiceObject>("kube-services", &server, shared, None)?;
    spawn::<SliceObject>("kube-endpoints", &server, shared, None)?;
    spawn::<NodeObject>("kube-nodes", &server, shared, None)?;
    Ok(())
}

/// The server with what is needed to ask it, or what is missing.
fn server(options: &Options) -> Result<Server, String> {
    let url = options.server.clone().or_else(|| {
        let host = std::env::var("KUBERNETES_SERVICE_HOST").ok()?;
        let port = std::env::var("KUBERNETES_SERVICE_PORT").unwrap_or_else(|_| "443".to_owned());
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        Some(format!("https://{host}:{port}"))
    });
    let url = url.ok_or("KUBERNETES_SERVICE_HOST is not set: this is no pod of a cluster")?;
    let server = Server::new(&url, &options.service_account)?;
    server.token()?;
    if url.starts_with("https") {
        server.tls()?;
    }
    Ok(server)
}

fn spawn<R: watch::Resource>(
    name: &str,
    server: &Arc<Server>,
    shared: &Weak<Shared>,
    selector: Option<String>,
) -> Result<(), StartError> {
    let (server, shared) = (Arc::clone(server), Weak::clone(shared));
    let watch = move || watch::run::<R>(&server, &shared, selector.as_deref());
    thread::Builder::new().name(name.to_owned()).spawn(watch)?;
    Ok(())
}
